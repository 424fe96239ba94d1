/** The messages between this page and the kernel, as `protocol.py` beside this folder documents them. */

export const TARGET = 'agentnb';
export const RUN_MIME = 'application/vnd.agentnb.run.v1+json';
export const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';
/** Bytes of text (UTF-8) that one notebook tells its kernel at most. */
export const MOST_TEXT = 1_000_000;

const PAINTED = ['text/html', 'text/markdown', 'text/plain', RUN_MIME];
/** States in which a run stays: what is shown of it cannot grow old. */
const OVER = ['COMPLETED', 'FAILED', 'DRY_RUN'];

/** Who wrote a cell. */
export type Mark = { run: string; model: string };
export type Bundle = Record<string, any>;

export type Insert = { type: 'insert'; id: string; below: string; kind: 'code' | 'markdown'; source: string; mark: Mark };
export type Propose = {
  type: 'propose';
  id: string;
  /** The cell that is replaced, or below which a new one goes. */
  cell: string;
  /** The digest of the text that is replaced; null: a new cell. */
  digest: string | null;
  /** The cell below which the question was asked; null where a press on the page asked for it. */
  asking: string | null;
  source: string;
  why: string;
  mark: Mark;
};
export type Repaint = { type: 'repaint'; run: string; cell: string | null; data: Bundle | null };
/** A press on a block of an answer's code is dealt with. */
export type Said = { type: 'said'; run: string; block: number; text: string; cell: string | null };
/** Cells for a person to run: those that have not run, below the cell that points at them; or that cell itself. */
export type Offer = { type: 'offer'; cell: string; run: string[] };
/** Steps that a person asked for, from the place `first` on; or why there are none. */
export type Steps = { type: 'steps'; run: string; first: number; html: string; text: string };
export type FromKernel = { type: 'read' } | Insert | Propose | Repaint | Said | Offer | Steps;

export type CellLine = { id: string; kind: string; count: number | null; digest: string };
export type Texts = Record<string, string>;
export type ToKernel =
  | { type: 'cells'; asking: string | null; order: CellLine[]; texts: Texts }
  | { type: 'done'; id: string; outcome: Outcome; cell: string | null }
  | { type: 'code'; run: string; block: number; use: 'insert' | 'replace'; cell: string }
  | { type: 'steps'; run: string; before: number | null }
  | { type: 'again'; cell: string };
export type Outcome = 'inserted' | 'accepted' | 'rejected' | 'changed' | 'gone';

/** A run whose view is on the page, the cell that it stands under, and whether it is shown as ended. */
export type Shown = { run: string; cell: string; over: boolean };
export type Hello = { order: CellLine[]; runs: Shown[]; since: number; session: string };

type Check = (value: unknown) => boolean;
const text: Check = value => typeof value === 'string';
const maybeText: Check = value => value === null || text(value);
const mark: Check = value => fits(value, { run: text, model: text });
const painted: Check = value =>
  value === null || (isObject(value) && Object.keys(value).every(mime => PAINTED.includes(mime)));

const SHAPES: Record<string, Record<string, Check>> = {
  read: {},
  insert: { id: text, below: text, kind: v => v === 'code' || v === 'markdown', source: text, mark },
  propose: { id: text, cell: text, digest: maybeText, source: text, why: text, mark },
  repaint: { run: text, cell: maybeText, data: painted },
  said: { run: text, block: Number.isInteger, text, cell: maybeText },
  steps: { run: text, first: Number.isInteger, html: text, text },
  offer: { cell: text, run: value => Array.isArray(value) && value.every(text) }
};

/** The kernel's message, or null where it is none of those that this page acts on. */
export function parsed(data: unknown): FromKernel | null {
  const type = isObject(data) ? data.type : null;
  if (typeof type !== 'string' || !Object.hasOwn(SHAPES, type)) {
    return null;
  }
  return fits(data, SHAPES[type]) ? (data as FromKernel) : null;
}

export function isOver(document: unknown): boolean {
  return isObject(document) && OVER.includes(String(document.state));
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function fits(value: unknown, shape: Record<string, Check>): boolean {
  return isObject(value) && Object.entries(shape).every(([name, check]) => check(value[name]));
}
