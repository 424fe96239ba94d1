/** Buttons in a run's own output that carry a person's word on a call that waits. They outlive a reload.
 *
 * `<button data-agentnb-call=DIGEST data-agentnb-word=WORD>`; a reason may stand in an `<input data-agentnb-call=DIGEST>`.
 */

import type { Notebook } from '@jupyterlab/notebook';

import type { Link } from './link';
import { runAround } from './outputs';

/** Send what is pressed, once: all buttons of the same call are disabled at once. */
export function watchAnswers(notebook: Notebook, link: Link): void {
  notebook.node.addEventListener('click', event => {
    const pressed = (event.target as Element).closest<HTMLButtonElement>('button[data-agentnb-word]');
    const run = pressed && event.isTrusted && link.isOpen ? runAround(notebook, pressed) : '';
    if (!pressed || !run) {
      return;
    }
    const { agentnbCall: call = '', agentnbWord: word = '' } = pressed.dataset;
    const same = [...pressed.closest('.jp-OutputArea-output')!.querySelectorAll<HTMLElement>('[data-agentnb-call]')];
    const fields = same.filter(each => each.dataset.agentnbCall === call) as (HTMLButtonElement | HTMLInputElement)[];
    const reason = fields.find(each => each instanceof HTMLInputElement)?.value ?? '';
    fields.forEach(each => (each.disabled = true));
    link.send({ type: 'answer', run, call, word, reason });
  });
}
