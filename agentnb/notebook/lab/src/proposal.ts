/** A proposed text under a cell: what would change, and a person's word on it. */

import type { Cell } from '@jupyterlab/cells';
import { Widget } from '@lumino/widgets';

import { Line, difference, shortened } from './diff';
import { apart, button, element } from './dom';
import type { Propose } from './protocol';
import { sha256 } from './sha256';

const NAMES = { '+': 'added', '-': 'removed', ' ': '' };
const CHANGED = 'This cell has changed since the proposal was made for it, so it cannot be replaced.';
const LOCKED = 'This cell is locked against editing, so it cannot be replaced.';

export class Proposal extends Widget {
  private _accept: HTMLButtonElement;
  private _note = element('p', { class: 'agentnb-note', role: 'status' });

  constructor(
    private _cell: Cell,
    readonly message: Propose,
    answered: (accepted: boolean) => void
  ) {
    super({ node: element('section', { class: 'agentnb-proposal' }) });
    this.node.setAttribute('aria-label', this._title);
    apart(this.node);
    this._accept = button(this._replaces ? 'Replace' : 'Insert', () => answered(true));
    const buttons = element('div', { class: 'agentnb-buttons' }, this._accept, button('Reject', () => answered(false)));
    this.node.append(this._heading(), this._body(), this._note, buttons);
    this._cell.model.sharedModel.changed.connect(this._settle, this);
    this._settle();
  }

  /** Whether the cell still has the text that the proposal was made for. */
  get fits(): boolean {
    return !this._replaces || sha256(this._source) === this.message.digest;
  }

  dispose(): void {
    this._cell.model?.sharedModel.changed.disconnect(this._settle, this);
    super.dispose();
  }

  private get _replaces(): boolean {
    return this.message.digest !== null;
  }

  private get _source(): string {
    return this._cell.model.sharedModel.getSource();
  }

  private get _title(): string {
    return this._replaces ? 'Proposed change to this cell' : 'Proposed new cell below this one';
  }

  private _heading(): HTMLElement {
    const title = element('strong', {}, this._title);
    return element('p', { class: 'agentnb-heading' }, title, ...(this.message.why ? [` — ${this.message.why}`] : []));
  }

  /** The difference; for a new cell its text alone. */
  private _body(): HTMLElement {
    const lines = this._replaces
      ? difference(this._source, this.message.source)
      : this.message.source.split('\n').map((text): Line => ({ sign: '+', text }));
    const body = element('div', { class: 'agentnb-diff', tabindex: '0', role: 'group', 'aria-label': counted(lines) });
    body.append(...shortened(lines).map(row));
    return body;
  }

  private _settle(): void {
    const isLocked = this._replaces && this._cell.model.sharedModel.getMetadata('editable') === false;
    const said = isLocked ? LOCKED : this.fits ? '' : CHANGED;
    this._accept.disabled = said !== '';
    if (this._note.textContent !== said) {
      this._note.textContent = said;
    }
  }
}

function row(line: Line | null): HTMLElement {
  if (line === null) {
    return element('div', { class: 'agentnb-gap' }, '⋯');
  }
  const name = NAMES[line.sign];
  const sign = element('span', { class: 'agentnb-sign', ...(name ? { 'aria-label': name } : {}) }, line.sign === '-' ? '−' : line.sign);
  const tag = line.sign === '+' ? 'ins' : line.sign === '-' ? 'del' : 'span';
  return element('div', { class: `agentnb-line ${name && `agentnb-${name}`}` }, sign, element(tag, {}, line.text || ' '));
}

function counted(lines: Line[]): string {
  const count = (sign: string) => lines.filter(line => line.sign === sign).length;
  return `${count('-')} lines removed, ${count('+')} lines added`;
}
