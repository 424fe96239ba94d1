/** Outputs that show a run: found again after the page was loaded anew, and painted over when the kernel knows more. */

import type { Cell, CodeCell, ICodeCellModel } from '@jupyterlab/cells';
import type { IOutput } from '@jupyterlab/nbformat';
import type { Notebook } from '@jupyterlab/notebook';
import { KernelMessage } from '@jupyterlab/services';
import { JSONExt } from '@lumino/coreutils';

import { Bundle, RUN_MIME, Repaint, Shown, WIDGET_MIME, isObject, isOver } from './protocol';

/** As ipywidgets begins, for good, where a widget's model comes more than two seconds after its output. */
const GAVE_UP = 'Error displaying widget';
/** Seconds after the kernel was met in which its models may still come. */
const MODELS_COME = 120;

type Found = { cell: ICodeCellModel; index: number; output: IOutput; run: string; data: Bundle };

export class Outputs {
  private _redraws = 0;

  constructor(private _notebook: () => Notebook) {}

  /** The runs whose views are on the page. */
  shown(): Shown[] {
    return this._all()
      .filter(isMain)
      .map(({ run, cell, data }) => ({ run, cell: cell.id, over: isOver(data[RUN_MIME]) }));
  }

  /** Into the outputs that show the run; where there is none, into a new one under the cell that asked. */
  repaint(message: Repaint): void {
    const { run, data, cell } = message;
    const all = this._all().filter(each => each.run === run);
    const found = all.filter(isMain);
    if (data === null) {
      all.forEach(withoutWidget);
    } else if (found.length > 0) {
      found.forEach(each => put(each, data));
    } else {
      this._add(cell, run, data);
    }
  }

  /** An update whose display the page does not know any more: it was made before the page was loaded. */
  update(message: KernelMessage.IIOPubMessage): void {
    if (!KernelMessage.isUpdateDisplayDataMsg(message)) {
      return;
    }
    const { data, metadata, transient } = message.content as { data: Bundle; metadata: Bundle; transient: Bundle };
    const found = this._all().filter(each => nameOf(each) === transient.display_id);
    found.forEach(each => put(each, data));
    if (found.length === 0 && data[WIDGET_MIME] !== undefined) {
      this._addPart(metadata, data);
    }
  }

  /** Each second, draw anew what ipywidgets gave up on: a slow kernel's models come after their outputs. */
  async redraw(): Promise<void> {
    const running = this._redraws > 0;
    this._redraws = MODELS_COME;
    while (!running && this._redraws-- > 0 && !this._notebook().isDisposed) {
      await new Promise(done => setTimeout(done, 1000));
      this._notebook().widgets.forEach(drawAnew);
    }
  }

  /** No kernel draws the widgets of these any more: show what was saved beside them. */
  settle(): void {
    this._all().forEach(withoutWidget);
  }

  /** What stands beside a run's view, where the page shows the run and never got the part. */
  private _addPart(metadata: Bundle, data: Bundle): void {
    const { run, part } = isObject(metadata.agentnb) ? metadata.agentnb : { run: null, part: null };
    const main = this._all().find(each => isMain(each) && each.run === run);
    if (main && part) {
      if (main.cell.outputs.length === 1) {
        main.cell.trusted = true; // all that stands there came from the kernel just now; else no widget is drawn
      }
      main.cell.outputs.add({ output_type: 'display_data', data, metadata });
    }
  }

  private _add(id: string | null, run: string, data: Bundle): void {
    const cell = [...(this._notebook().model?.cells ?? [])].find(each => each.id === id);
    if (cell?.type === 'code') {
      (cell as ICodeCellModel).outputs.add({ output_type: 'display_data', data, metadata: { agentnb: { run } } });
    }
  }

  private _all(): Found[] {
    const cells = [...(this._notebook().model?.cells ?? [])].filter(cell => cell.type === 'code') as ICodeCellModel[];
    return cells.flatMap(cell =>
      cell.outputs.toJSON().flatMap((output, index) => {
        const [run, data] = [runOf(output), (output.data ?? {}) as Bundle];
        return run ? [{ cell, index, output, run, data }] : [];
      })
    );
  }
}

/** The run that an output shows; empty where it shows none. */
export function runOf(output: IOutput): string {
  const document = isObject(output.data) ? output.data[RUN_MIME] : null;
  const metadata = isObject(output.metadata) ? output.metadata.agentnb : null;
  const run = (isObject(metadata) && metadata.run) || (isObject(document) && document.run_id);
  return typeof run === 'string' ? run : '';
}

/** The run of the trusted output in which a node stands; empty where there is none. */
export function runAround(notebook: Notebook, node: Element): string {
  for (const cell of notebook.widgets) {
    const { outputArea, model } = cell as unknown as Partial<CodeCell>;
    const index = outputArea?.widgets.findIndex(each => each.node.contains(node)) ?? -1;
    if (model && index >= 0 && model.outputs.get(index).trusted) {
      return runOf(model.outputs.get(index).toJSON());
    }
  }
  return '';
}

function drawAnew(cell: Cell): void {
  const { outputArea, model } = cell as unknown as Partial<CodeCell>;
  outputArea?.widgets.forEach((each, index) => {
    const lost = [...each.node.querySelectorAll('.jupyter-widgets')].find(node => node.textContent?.startsWith(GAVE_UP));
    const output = lost && model?.outputs.get(index).toJSON();
    if (output && runOf(output)) {
      lost.classList.remove('jupyter-widgets');
      model?.outputs.set(index, output);
    }
  });
}

/** The display id that the kernel gave it: the run's, with a part's name for what stands beside the run's view. */
function nameOf({ output, run }: Found): string {
  const metadata = isObject(output.metadata) ? output.metadata.agentnb : null;
  return isObject(metadata) && metadata.part !== undefined ? `${run}/${metadata.part}` : run;
}

function isMain(found: Found): boolean {
  return nameOf(found) === found.run;
}

function withoutWidget(found: Found): void {
  const { [WIDGET_MIME]: widget, ...rest } = found.data;
  if (widget !== undefined && rest['text/html'] !== undefined) {
    put(found, rest);
  }
}

function put({ cell, index, output, data: before }: Found, data: Bundle): void {
  if (!JSONExt.deepEqual(before, data)) {
    cell.outputs.set(index, { ...output, output_type: 'display_data', data });
  }
}
