/** The buttons under a run that waits: keys that answer, and what stands there until the kernel has heard.
 *
 * No key counts unless the focus is in the row already, and nothing gives it the focus: who types elsewhere approves
 * nothing. On a button Enter presses that button. Escape denies. In a field Enter sends what was written.
 */

import type { Notebook } from '@jupyterlab/notebook';

import { element, keepKeys } from './dom';

const ROW = '.agentnb-answer';
const DENIES = /^Deny/;
const SENDS = /^(Deny|Answer)/;
const RUNS = /^(Run|Always)/;

export function watchApproval(notebook: Notebook): void {
  const { node } = notebook;
  node.addEventListener('focusin', event => {
    if ((event.target as Element).closest(ROW)) {
      keepKeys(event);
    }
  });
  const key = (event: KeyboardEvent) => void ((event.target as Element).closest(ROW) && answerByKey(event));
  node.addEventListener('keydown', key, true); // a field keeps its keys to itself
  node.addEventListener('click', event => {
    const pressed = (event.target as Element).closest<HTMLButtonElement>(`${ROW} button`);
    if (pressed && !pressed.disabled) {
      waitForKernel(notebook, pressed.closest<HTMLElement>(ROW)!, pressed.textContent!);
    }
  });
}

function answerByKey(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  const writes = target instanceof HTMLInputElement && target.value !== '';
  const words = event.key === 'Escape' ? DENIES : event.key === 'Enter' && writes ? SENDS : null;
  const wanted = words && !(target instanceof HTMLTextAreaElement) ? nearest(target, words) : undefined;
  if (event.repeat && event.key === 'Enter' && !(target instanceof HTMLTextAreaElement)) {
    event.preventDefault(); // a key that is held would press the next question's button too
  } else if (wanted) {
    event.preventDefault();
    wanted.focus(); // a field tells what stands in it when it is left
    wanted.click();
  }
}

/** The button with such words that stands nearest: each of several calls has its own. */
function nearest(from: Element, words: RegExp): HTMLButtonElement | undefined {
  for (let place: Element | null = from; place?.closest(ROW); place = place.parentElement) {
    const found = [...place.querySelectorAll('button')].find(each => words.test(each.textContent!) && !each.disabled);
    if (found) {
      return found;
    }
  }
  return undefined;
}

/** Disable the row at once and say what it waits for, until the kernel shows another. */
function waitForKernel(notebook: Notebook, row: HTMLElement, pressed: string): void {
  const had = row.contains(document.activeElement);
  const buttons = () => [...row.querySelectorAll('button')];
  buttons().forEach(each => (each.disabled = true));
  const said = `${RUNS.test(pressed) ? 'Runs' : 'Is done'} when the kernel is free.`;
  const note = element('p', { class: 'agentnb-sent', role: 'status' }, said);
  row.append(note);
  const observer = new MutationObserver(changes => {
    const inRow = changes.filter(each => row.contains(each.target));
    const isOpen = row.isConnected && buttons().some(each => !each.disabled);
    if (isOpen || inRow.some(each => each.type === 'childList')) {
      note.remove();
    }
    if (isOpen || !row.isConnected) {
      observer.disconnect();
      if (had && document.activeElement === document.body) {
        isOpen ? focusOn(row) : notebook.activate();
      }
    }
  });
  const output = row.closest('.jp-OutputArea') ?? row;
  observer.observe(output, { subtree: true, childList: true, attributes: true, attributeFilter: ['disabled'] });
}

/** On the code that is to be edited; else on the row as a whole, so that Tab leads to its first button and no key
 * presses one.
 */
function focusOn(row: HTMLElement): void {
  row.tabIndex = -1;
  (row.querySelector('textarea') ?? row).focus();
}
