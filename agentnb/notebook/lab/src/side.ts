/** What one notebook in the page does for agentnb: listens to its cells and to its kernel. */

import type { Cell } from '@jupyterlab/cells';
import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel, KernelMessage } from '@jupyterlab/services';

import { watchApproval } from './approval';
import { Cells } from './cells';
import { CodeTools } from './code';
import { insertBelow, replace } from './editing';
import { watchFailure } from './failed';
import { Link } from './link';
import { belowInput, belowOutputs } from './mount';
import { Offers } from './offer';
import { Outputs } from './outputs';
import { pointer } from './pointer';
import { Proposal } from './proposal';
import { watchProse } from './prose';
import type { FromKernel, Insert, Mark, Outcome, Propose } from './protocol';
import { StepPages } from './steps';

/** A cell that asks, in whole or on one of its lines; or goes on with what was asked. */
const ASKS = /^\s*%%?agent(_runs)?(\s|$)/m;
/** A cell after which the kernel may have the extension. */
const LOADS = /agentnb|%agent/;

export class Side {
  private _link: Link;
  private _cells = new Cells(() => this._panel.model);
  private _outputs = new Outputs(() => this._panel.content);
  private _code: CodeTools;
  private _offers: Offers;
  private _steps: StepPages;
  private _proposals = new Map<string, Proposal>();
  /** Cells that this page has put in, and which message of the kernel asked for each. */
  private _put = new Map<string, number>();
  private _requests = 0;
  private _watched = new WeakSet<Cell>();
  private _kernel: Kernel.IKernelConnection | null = null;
  private _begun = performance.now();

  constructor(
    private _panel: NotebookPanel,
    private _languages: IEditorLanguageRegistry
  ) {
    const { sessionContext, content } = _panel;
    this._link = new Link(
      sessionContext,
      () => {
        this._cells.reset();
        const since = (performance.now() - this._begun) / 1000;
        const session = sessionContext.session?.id ?? '';
        return { order: this._cells.order(), runs: this._outputs.shown(), since, session };
      },
      message => this._take(message)
    );
    this._link.changed.connect(() => (this._link.isOpen ? void this._outputs.redraw() : this._dropProposals()));
    this._offers = new Offers(_panel, cell => this._link.send({ type: 'again', cell }));
    watchApproval(content);
    this._code = new CodeTools(content, this._link, press => {
      this._link.send(this._cells.message(null)); // what would be replaced is the text that stands there now
      this._link.send({ type: 'code', ...press });
    });
    this._steps = new StepPages(content, press => this._link.send({ type: 'steps', ...press }));
    this._watchCells();
    content.modelContentChanged.connect(() => this._watchCells());
    sessionContext.kernelChanged.connect(() => this._newKernel());
    sessionContext.statusChanged.connect((_, status) => this._status(status));
    NotebookActions.executionScheduled.connect(this._scheduled, this);
    NotebookActions.executed.connect(this._executed, this);
    void sessionContext.ready.then(() => this._newKernel());
    _panel.disposed.connect(() => this._leave());
  }

  private _watchCells(): void {
    for (const cell of this._panel.content.widgets) {
      if (!this._watched.has(cell)) {
        this._watched.add(cell);
        watchProse(this._panel.content, cell, this._languages);
        watchFailure(this._panel, cell, this._link);
        this._code.watch(cell);
        this._steps.watch(cell);
      }
    }
  }

  /** Another kernel, or the first: its messages are heard, and it is asked whether it has the extension. */
  private _newKernel(): void {
    const kernel = this._panel.sessionContext.session?.kernel ?? null;
    if (kernel === this._kernel) {
      return;
    }
    this._link.drop();
    this._kernel?.iopubMessage.disconnect(this._heard, this);
    this._kernel = kernel;
    kernel?.iopubMessage.connect(this._heard, this);
    if (kernel?.status === 'busy') {
      this._outputs.settle(); // nobody can draw a widget until the cell ends
    }
    void this._look();
  }

  private _status(status: Kernel.Status): void {
    if (status === 'restarting' || status === 'autorestarting' || status === 'dead') {
      this._link.drop();
    }
  }

  private async _look(): Promise<void> {
    const there = await this._link.look().catch(() => false);
    if (!there) {
      this._outputs.settle();
    }
  }

  private _heard(_: unknown, message: KernelMessage.IIOPubMessage): void {
    this._outputs.update(message);
  }

  /** Before a cell is sent: the kernel is told of the notebook if the cell asks. */
  private _scheduled(_: unknown, { notebook, cell }: { notebook: unknown; cell: Cell }): void {
    if (notebook === this._panel.content && ASKS.test(cell.model.sharedModel.getSource())) {
      this._offers.drop(cell);
      this._link.open();
      this._link.send(this._cells.message(cell.model.id));
    }
  }

  private _executed(_: unknown, { notebook, cell }: { notebook: unknown; cell: Cell }): void {
    if (notebook === this._panel.content && LOADS.test(cell.model.sharedModel.getSource())) {
      void this._link.look().catch(() => false);
    }
  }

  private _take(message: FromKernel): void {
    switch (message.type) {
      case 'read':
        this._link.send(this._cells.message(null));
        break;
      case 'insert':
        this._insert(message);
        break;
      case 'propose':
        this._propose(message);
        break;
      case 'repaint':
        this._outputs.repaint(message);
        break;
      case 'said':
        this._show(message.cell); // first: what is said goes when the focus leaves the buttons
        this._code.said(message);
        break;
      case 'steps':
        this._steps.show(message);
        break;
      case 'offer':
        this._offers.show(message);
    }
  }

  private _insert({ id, below, kind, source, mark }: Insert): void {
    const cell = this._cell(below);
    if (cell) {
      const made = this._putBelow(cell, kind, source, mark, ++this._requests);
      this._done(id, 'inserted', made);
      this._show(made);
    } else {
      this._done(id, 'gone');
    }
  }

  private _propose(message: Propose): void {
    const cell = this._cell(message.cell);
    const shown = [...this._proposals.values()].some(
      each => each.message.cell === message.cell && each.message.source === message.source && each.fits
    );
    if (!cell || shown) {
      this._done(message.id, 'gone');
    } else if (!this._proposals.has(message.id)) {
      const number = ++this._requests;
      const proposal = new Proposal(cell, message, accepted => this._answered(cell, proposal, number, accepted));
      this._proposals.set(message.id, proposal);
      (message.digest === null ? belowOutputs : belowInput)(cell, proposal);
      this._point(cell, proposal);
      cell.disposed.connect(() => this._proposals.get(message.id) === proposal && this._left(proposal));
    }
  }

  /** A cell that is moved is drawn anew: what is proposed for it goes along. With a deleted one it is gone. */
  private _left(proposal: Proposal): void {
    const { message } = proposal;
    this._proposals.delete(message.id);
    proposal.dispose();
    setTimeout(() => {
      if (!this._panel.isDisposed) {
        this._propose(message);
      }
    });
  }

  /** A change to a cell that may be far above is pointed at where it was asked for. */
  private _point(cell: Cell, proposal: Proposal): void {
    const asking = this._cell(proposal.message.asking ?? '');
    if (proposal.message.digest !== null && asking && asking !== cell) {
      const row = pointer(cell, () => this._show(cell.model.id));
      proposal.disposed.connect(() => row.dispose());
      belowOutputs(asking, row);
    }
  }

  private _answered(cell: Cell, proposal: Proposal, number: number, accepted: boolean): void {
    const { message } = proposal;
    if (!accepted) {
      this._end(proposal, proposal.fits ? 'rejected' : 'changed');
    } else if (proposal.fits && message.digest !== null) {
      replace(cell, message.source, message.mark);
      this._end(proposal, 'accepted', message.cell);
    } else if (proposal.fits) {
      this._end(proposal, 'accepted', this._putBelow(cell, 'code', message.source, message.mark, number));
    }
  }

  /** Below the cell and what the same run has put there already, but above what the kernel named later. */
  private _putBelow(cell: Cell, kind: 'code' | 'markdown', source: string, mark: Mark, number: number): string {
    const { widgets } = this._panel.content;
    const isEarlier = ({ model }: Cell) =>
      (model.getMetadata('agentnb') as Mark | undefined)?.run === mark.run && (this._put.get(model.id) ?? 0) < number;
    let at = widgets.indexOf(cell);
    while (at + 1 < widgets.length && isEarlier(widgets[at + 1])) {
      at++;
    }
    const id = insertBelow(this._panel.content, widgets[at], kind, source, mark);
    this._put.set(id, number);
    return id;
  }

  /** Select the cell that a person asked for, unless that person writes somewhere by now. */
  private _show(id: string | null): void {
    const { content } = this._panel;
    const index = content.widgets.findIndex(cell => cell.model.id === id);
    if (index >= 0 && !document.activeElement?.matches(':read-write')) {
      content.mode = 'command';
      content.activeCellIndex = index;
      content.deselectAll();
      void content.scrollToItem(index, 'smart');
      content.activate();
    }
  }

  private _end(proposal: Proposal, outcome: Outcome, cell: string | null = null): void {
    const had = proposal.node.contains(document.activeElement);
    this._proposals.delete(proposal.message.id);
    proposal.dispose();
    if (had) {
      this._panel.content.activate(); // else the notebook's keys lead nowhere
    }
    this._done(proposal.message.id, outcome, cell);
  }

  private _done(id: string, outcome: Outcome, cell: string | null = null): void {
    this._link.send({ type: 'done', id, outcome, cell });
  }

  private _cell(id: string): Cell | undefined {
    return this._panel.content.widgets.find(cell => cell.model.id === id);
  }

  /** The kernel that proposed is gone, and its proposals with it. */
  private _dropProposals(): void {
    this._proposals.forEach(proposal => proposal.dispose());
    this._proposals.clear();
  }

  private _leave(): void {
    NotebookActions.executionScheduled.disconnect(this._scheduled, this);
    NotebookActions.executed.disconnect(this._executed, this);
    this._kernel?.iopubMessage.disconnect(this._heard, this);
    this._link.close();
  }
}
