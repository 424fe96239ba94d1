/** What changed between two texts, line by line. Pure. */

export type Line = { sign: '+' | '-' | ' '; text: string };

/** Texts whose tables would be larger are shown as one replaced by the other. */
const MOST_PAIRS = 4_000_000;

/** The lines of both texts in order: kept, taken away, put in. */
export function difference(before: string, after: string): Line[] {
  const [a, b] = [before.split('\n'), after.split('\n')];
  let top = 0;
  while (top < a.length && top < b.length && a[top] === b[top]) {
    top++;
  }
  let end = 0;
  while (end < a.length - top && end < b.length - top && a[a.length - 1 - end] === b[b.length - 1 - end]) {
    end++;
  }
  const kept = (lines: string[]): Line[] => lines.map(text => ({ sign: ' ', text }));
  const middle = changed(a.slice(top, a.length - end), b.slice(top, b.length - end));
  return [...kept(a.slice(0, top)), ...middle, ...kept(a.slice(a.length - end))];
}

function changed(a: string[], b: string[]): Line[] {
  const lines: Line[] = [];
  const common = a.length * b.length > MOST_PAIRS ? null : longest(a, b);
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (common && i < a.length && j < b.length && a[i] === b[j]) {
      lines.push({ sign: ' ', text: a[i++] });
      j++;
    } else if (i < a.length && (j === b.length || !common || common[i + 1][j] >= common[i][j + 1])) {
      lines.push({ sign: '-', text: a[i++] });
    } else {
      lines.push({ sign: '+', text: b[j++] });
    }
  }
  return lines;
}

/** For each pair of places, how many lines the rests from there have in common. */
function longest(a: string[], b: string[]): Uint32Array[] {
  const table = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  return table;
}

/** The lines to show: what changed with some lines around it; null stands for lines left out. */
export function shortened(lines: Line[], around = 3): (Line | null)[] {
  const near = lines.map((_, i) => lines.slice(Math.max(0, i - around), i + around + 1).some(line => line.sign !== ' '));
  return lines.flatMap((line, i) => (near[i] ? [line] : near[i - 1] || i === 0 ? [null] : []));
}
