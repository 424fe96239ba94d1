/** Elements in one call. Text is set as text: nothing here reads markup. */

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  node.append(...children);
  return node;
}

export function button(words: string, press: () => void): HTMLButtonElement {
  const node = element('button', { type: 'button', class: 'agentnb-button' }, words);
  node.addEventListener('click', press);
  return node;
}

/** Keys and clicks inside belong to what is inside: `d d` on a button of ours must not delete the cell. */
export function apart(node: HTMLElement): void {
  for (const kind of ['mousedown', 'mouseup', 'dblclick']) {
    node.addEventListener(kind, event => event.stopPropagation());
  }
  node.addEventListener('focusin', keepKeys);
}

/** The notebook's shortcuts look for this mark on what has the focus before they look at what is around it. */
export function keepKeys(event: FocusEvent): void {
  (event.target as HTMLElement).dataset.lmSuppressShortcuts = 'true';
}
