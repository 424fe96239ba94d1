/** The comm between one notebook and its kernel. */

import type { ISessionContext } from '@jupyterlab/apputils';
import { CommsOverSubshells, Kernel } from '@jupyterlab/services';
import type { JSONObject } from '@lumino/coreutils';
import { Signal } from '@lumino/signaling';

import { FromKernel, Hello, TARGET, ToKernel, parsed } from './protocol';

/** Opens when the kernel lists our target among its comms, or when a cell that asks is about to be sent. */
export class Link {
  readonly changed = new Signal<this, void>(this);
  private _comm: Kernel.IComm | null = null;

  constructor(
    private _context: ISessionContext,
    private _hello: () => Hello,
    private _receive: (message: FromKernel) => void
  ) {}

  get isOpen(): boolean {
    return this._comm !== null && !this._comm.isDisposed;
  }

  /** Open where the kernel has loaded the extension; whether it has. */
  async look(): Promise<boolean> {
    const kernel = this._context.session?.kernel;
    if (!kernel || this.isOpen) {
      return this.isOpen;
    }
    const { content } = await kernel.requestCommInfo({ target_name: TARGET });
    const there = content.status === 'ok' && Object.keys(content.comms).length > 0;
    if (there && kernel === this._context.session?.kernel) {
      this.open();
    }
    return this.isOpen;
  }

  /** Open without a question. A kernel that does not know our target closes the comm. */
  open(): void {
    const kernel = this._context.session?.kernel;
    if (!kernel || this.isOpen) {
      return;
    }
    const comm = kernel.createComm(TARGET) as Kernel.IComm & { commsOverSubshells?: CommsOverSubshells };
    // In the kernel's main shell: what is sent before a cell then arrives before it.
    comm.commsOverSubshells = CommsOverSubshells.Disabled;
    comm.onMsg = ({ content }) => {
      const message = parsed(content.data);
      if (message && this._comm === comm) {
        this._receive(message);
      }
    };
    comm.onClose = () => this._closed(comm);
    comm.open(this._hello());
    this._comm = comm;
    this.changed.emit();
  }

  send(message: ToKernel): void {
    if (this._comm && this.isOpen) {
      this._comm.send(message as unknown as JSONObject);
    }
  }

  /** The kernel began anew: its comms are gone. */
  drop(): void {
    this._closed(this._comm);
  }

  close(): void {
    if (this._comm && this.isOpen) {
      this._comm.close();
    }
  }

  private _closed(comm: Kernel.IComm | null): void {
    if (comm && comm === this._comm) {
      this._comm = null;
      this.changed.emit();
    }
  }
}
