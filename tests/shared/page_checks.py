"""Checks that run in a page, over every view in it: does it fit, and can it be read."""

from __future__ import annotations

STANDS_OUT = """() => [...document.querySelectorAll('.agentnb-run, .agentnb-run div:not(pre *)')]
    .filter(part => part.scrollWidth > part.clientWidth + 1).map(part => part.innerText.slice(0, 60))"""
# Contrast as WCAG has it: of each piece of text with what is painted behind it, opacity counted. A mark needs less.
FAINT = """() => {
    const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
    const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = node => {
        const layers = [];
        for (let at = node; at; at = at.parentElement) layers.unshift(parse(getComputedStyle(at).backgroundColor));
        return layers.reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
    };
    const found = [];
    for (const root of document.querySelectorAll('.agentnb-run')) {
        const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) {
            const node = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
            if (!text || !node.checkVisibility()) continue;
            let seen = 1;
            for (let at = node; at; at = at.parentElement) seen *= Number(getComputedStyle(at).opacity);
            const paper = behind(node), ink = parse(getComputedStyle(node).color);
            const pair = [light(over([...ink.slice(0, 3), ink[3] * seen], paper)), light(paper)];
            const [b, a] = pair.sort((x, y) => x - y);
            const contrast = (a + 0.05) / (b + 0.05);
            if (contrast < (text.length > 1 ? 4.5 : 3)) found.push(`${contrast.toFixed(2)} ${text.slice(0, 40)}`);
        }
    }
    return [...new Set(found)];
}"""
