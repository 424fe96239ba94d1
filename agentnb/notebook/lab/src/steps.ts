/** "Show them here" where a saved output keeps only the newest steps of a run: the rest comes from the journal, in pages.
 *
 * What comes stands in the page alone. It is not saved with the notebook, and goes when the output is drawn anew.
 */

import { Cell, CodeCell } from '@jupyterlab/cells';
import type { Notebook } from '@jupyterlab/notebook';

import { apart, button, element } from './dom';
import { runAround } from './outputs';
import type { Steps } from './protocol';

const STEPS = '.agentnb-steps';

export type StepsPress = { run: string; before: number | null };
type Place = { run: string; pages: HTMLElement; press: HTMLButtonElement; note: HTMLElement; before: number | null };

export class StepPages {
  private _places = new Map<Element, Place>();

  constructor(
    private _notebook: Notebook,
    private _press: (press: StepsPress) => void
  ) {}

  /** Follow a cell's outputs from now on. */
  watch(cell: Cell): void {
    if (cell instanceof CodeCell) {
      const { node } = cell.outputArea;
      const look = () => node.querySelectorAll(STEPS).forEach(steps => this._dress(steps));
      new MutationObserver(look).observe(node, { childList: true, subtree: true });
      look();
    }
  }

  /** The kernel has brought steps, or says why not. */
  show({ run, first, html, text }: Steps): void {
    for (const [steps, place] of this._places) {
      if (!steps.isConnected) {
        this._places.delete(steps);
      } else if (place.run === run && place.press.disabled) {
        place.press.disabled = false;
        place.note.textContent = text;
        if (!text) {
          this._put(steps, place, first, html);
        }
      }
    }
  }

  private _put(steps: Element, place: Place, first: number, html: string): void {
    const page = element('div', { tabindex: '-1' });
    page.innerHTML = this._notebook.rendermime.sanitizer.sanitize(html);
    if (place.before === null) {
      steps.replaceChildren(place.press.parentElement!, place.pages); // they hold what was kept, too
    }
    place.before = first;
    place.pages.prepend(page);
    place.press.textContent = `Show earlier steps (${first} more)`;
    place.press.parentElement!.hidden = first === 0;
    (first === 0 ? page : place.press).focus({ preventScroll: true });
  }

  private _dress(steps: Element): void {
    const run = this._places.has(steps) ? '' : runAround(this._notebook, steps);
    if (run) {
      const place: Place = {
        run,
        pages: element('div'),
        press: button('Show them here', () => {
          place.press.disabled = true;
          place.note.textContent = 'Is done when the kernel is free.';
          this._press({ run, before: place.before });
        }),
        note: element('span', { role: 'status' }),
        before: null
      };
      const row = element('div', { class: 'agentnb-more' }, place.press, ' ', place.note);
      apart(row);
      this._places.set(steps, place);
      const line = steps.firstElementChild;
      line ? line.after(row) : steps.prepend(row);
    }
  }
}
