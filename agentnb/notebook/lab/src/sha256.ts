/** SHA-256 of a text's UTF-8 bytes, as lower-case hex.
 *
 * The browser's own works only over https and never at once; a digest is needed before a cell is sent, over http too.
 */
export function sha256(text: string): string {
  const words = padded(new TextEncoder().encode(text));
  const state = Uint32Array.from(primes(8), prime => fraction(prime ** (1 / 2)));
  const round = Uint32Array.from(primes(64), prime => fraction(Math.cbrt(prime)));
  const w = new Uint32Array(64);
  for (let block = 0; block < words.length; block += 16) {
    for (let i = 0; i < 64; i++) {
      w[i] = i < 16 ? words[block + i] : w[i - 16] + small0(w[i - 15]) + w[i - 7] + small1(w[i - 2]);
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const one = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + round[i] + w[i];
      const two = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => (state[i] += value));
  }
  return Array.from(state, value => value.toString(16).padStart(8, '0')).join('');
}

function padded(bytes: Uint8Array): Uint32Array {
  const words = new Uint32Array((((bytes.length + 8) >> 6) + 1) * 16);
  bytes.forEach((byte, i) => (words[i >> 2] |= byte << (24 - (i % 4) * 8)));
  words[bytes.length >> 2] |= 0x80 << (24 - (bytes.length % 4) * 8);
  words[words.length - 2] = Math.floor(bytes.length / 2 ** 29);
  words[words.length - 1] = bytes.length << 3;
  return words;
}

function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) {
    if (found.every(prime => n % prime)) {
      found.push(n);
    }
  }
  return found;
}

const fraction = (value: number) => Math.floor((value % 1) * 2 ** 32);
const turn = (value: number, by: number) => (value >>> by) | (value << (32 - by));
const small0 = (value: number) => turn(value, 7) ^ turn(value, 18) ^ (value >>> 3);
const small1 = (value: number) => turn(value, 17) ^ turn(value, 19) ^ (value >>> 10);
