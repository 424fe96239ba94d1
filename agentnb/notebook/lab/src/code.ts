/** "Copy", "Insert below" and "Replace…" in the corner of each block of code of an answer.
 *
 * They show where the pointer or the focus is. What is copied is what is seen; what goes into the notebook is the
 * kernel's own text of that block, which the page only names.
 */

import { Clipboard } from '@jupyterlab/apputils';
import { Cell, CodeCell } from '@jupyterlab/cells';
import type { Notebook } from '@jupyterlab/notebook';

import { apart, button, element } from './dom';
import type { Link } from './link';
import { runAround } from './outputs';
import type { Said } from './protocol';

const BLOCK = 'pre.agentnb-code';
/** A view that goes on growing is no place for buttons. */
const LIVE = '.agentnb-live';
const WAITS = 'Is done when the kernel is free.';

export type Press = { run: string; block: number; use: 'insert' | 'replace'; cell: string };
type Tools = { run: string; block: number; node: HTMLElement; note: HTMLElement; presses: HTMLButtonElement[] };

export class CodeTools {
  private _tools = new Map<Element, Tools>();

  constructor(
    private _notebook: Notebook,
    private _link: Link,
    private _press: (press: Press) => void
  ) {
    const settle = () => _notebook.node.classList.toggle('agentnb-linked', this._link.isOpen);
    settle();
    _link.changed.connect(settle);
  }

  /** Follow a cell's outputs from now on. */
  watch(cell: Cell): void {
    if (cell instanceof CodeCell) {
      const { node } = cell.outputArea;
      const look = () => node.querySelectorAll<HTMLElement>(BLOCK).forEach(block => this._dress(cell, block));
      new MutationObserver(look).observe(node, { childList: true, subtree: true });
      look();
    }
  }

  /** The kernel has dealt with a press. */
  said({ run, block, text }: Said): void {
    for (const [pre, tools] of this._tools) {
      if (!pre.isConnected) {
        this._tools.delete(pre);
      } else if (tools.run === run && tools.block === block) {
        tools.presses.forEach(each => (each.disabled = false));
        tools.note.textContent = text;
        if (text && document.activeElement === document.body) {
          tools.presses[0].focus(); // a button that is disabled loses it
        }
      }
    }
  }

  private _dress(cell: CodeCell, pre: HTMLElement): void {
    const run = this._tools.has(pre) || pre.closest(LIVE) ? '' : runAround(this._notebook, pre);
    if (run) {
      const block = Number(/agentnb-code-(\d+)/.exec(pre.className)?.[1] ?? 0);
      const tools = this._made(cell, pre, run, block);
      this._tools.set(pre, tools);
      const frame = element('div', { class: 'agentnb-code-frame' });
      pre.replaceWith(frame);
      frame.append(tools.node, pre);
    }
  }

  private _made(cell: CodeCell, pre: HTMLElement, run: string, block: number): Tools {
    const note = element('span', { class: 'agentnb-code-note', role: 'status' });
    const copy = button('Copy', () => {
      Clipboard.copyToSystem(pre.textContent ?? '');
      note.textContent = 'Copied.';
    });
    const ask = (words: string, title: string, use: Press['use']) => {
      const made = button(words, () => {
        presses.forEach(each => (each.disabled = true));
        note.textContent = WAITS;
        this._press({ run, block, use, cell: cell.model.id });
      });
      made.title = title;
      return made;
    };
    const presses = [
      ask('Insert below', 'Puts this code into a new cell below this one. It does not run.', 'insert'),
      ask('Replace…', 'Shows what would change in the cell that defines the same names.', 'replace')
    ];
    const node = element('div', { class: 'agentnb-code-tools' }, note, copy, ...(block ? presses : []));
    apart(node);
    const clear = () => void (presses.some(each => each.disabled) || (note.textContent = ''));
    node.addEventListener('focusout', clear);
    pre.addEventListener('mouseleave', clear);
    return { run, block, node, note, presses };
  }
}
