// Section 5: measured pairs along the similarity axis; the threshold can be dragged.
const LOOK = { hit: ['ok', '✓ served, rightly'], 'false hit': ['bad', '✕ served, wrongly'], missed: ['wait', 'paid again'], 'kept apart': ['wait', 'kept apart, rightly'] };

export default figure({
  name: 'semantic',
  buttons: true,
  height: () => 372,
  legend: () => [['dot', 'ok', 'same meaning, served'], ['ring', 'wait', 'same meaning, paid again'], ['diamond', 'bad', 'other meaning, served: a wrong answer'], ['cross', 'wait', 'other meaning, kept apart'], ['line', 'ok', 'share of paraphrases served'], ['dash', 'bad', 'share of the others served wrongly']],
  draw(pen, s, ctx) {
    const left = 84, right = ctx.W - 18, x = scale(0.4, 1, left, right), top = 26, bottom = 196, t = x(s.threshold);
    pen.rect(t, top, right + 8 - t, 336 - top, 'pale c-main');
    for (const v of ticks(0.4, 1, ctx.W < 620 ? 4 : 7)) { pen.line(x(v), top, x(v), 336, 'grid'); pen.text(x(v), 354, fix(v, 2), 'mute n', 'middle'); }
    pen.text((left + right) / 2, 370, 'cosine similarity of the two questions', 'mute', 'middle');
    pen.line(0, 112, right + 8, 112, 'grid');
    ['same', 'meaning'].forEach((word, i) => pen.text(0, 64 + i * 16, word, 'b'));
    ['another', 'meaning'].forEach((word, i) => pen.text(0, 150 + i * 16, word, 'b'));
    const used = { true: [], false: [] };
    s.pairs.forEach((pair, i) => {
      const cx = x(Math.max(0.4, pair.score)), base = pair.same ? 70 : 154, lane = used[pair.same];
      let k = 0;
      while (lane.some(([a, b]) => Math.abs(a - cx) < 14 && b === k)) k += 1;
      lane.push([cx, k]);
      const cy = base + (k % 2 ? -1 : 1) * Math.ceil(k / 2) * 14;
      const served = pair.verdict.includes('hit'), chosen = ctx.ui.pair === i;
      if (chosen) pen.dot(cx, cy, 10, 'ring c-main', { style: 'fill:none' });
      let node;
      if (pair.same) node = pen.dot(cx, cy, 5.5, served ? 'fill c-ok' : 'ln paper c-wait');
      else if (served) node = pen.path(`M${cx} ${cy - 7}l7 7l-7 7l-7 -7z`, 'fill c-bad');
      else { pen.cross(cx, cy, 4, `c-wait ${pair.guarded ? 'thick' : ''}`); node = pen.dot(cx, cy, 8, '', { fill: 'transparent' }); }
      const pick = () => { ctx.ui.pair = i; ctx.redraw(); };
      pen.hot(node, `${pair.first} / ${pair.second}: ${pair.score}, ${LOOK[pair.verdict][1]}`, pick);
      node.onpointerenter = node.onfocus = () => { if (ctx.ui.pair !== i) pick(); };
    });
    shares(pen, s, x, left, right, 226, 330);
    const grip = pen.rect(t - 9, top - 8, 18, 346 - top, 'drag', { fill: 'transparent' });
    pen.line(t, top, t, 336, 'ln c-main', { 'pointer-events': 'none' });
    pen.rect(t - 30, top - 22, 60, 22, 'fill c-main', { rx: 11, 'pointer-events': 'none' });
    pen.text(t, top - 7, fix(s.threshold, 3), 'on n', 'middle', { 'pointer-events': 'none' });
    grip.onpointerdown = (event) => {
      grip.setPointerCapture(event.pointerId);
      grip.onpointermove = (move) => {
        const point = new DOMPoint(move.clientX, move.clientY).matrixTransform(pen.svg.getScreenCTM().inverse());
        ctx.set('threshold', clamp(Math.round((0.4 + ((point.x - left) / (right - left)) * 0.6) * 200) / 200, 0.4, 1));
      };
      grip.onpointerup = () => { grip.onpointermove = null; };
    };
  },
  panel(node, s, ctx) {
    const pair = s.pairs[ctx.ui.pair ?? s.pairs.findIndex((p) => !p.same && p.verdict === 'false hit')] || s.pairs[0];
    const role = LOOK[pair.verdict][0];
    node.replaceChildren(h('div', { class: `fg-step c-${role}` }, h('b', {}, fix(pair.score, 3)), h('span', { class: 'fg-quote' }, `“${pair.first}”`), h('span', { class: 'fg-quote' }, `“${pair.second}”`), h('em', {}, pair.guarded ? 'kept apart by the guard' : LOOK[pair.verdict][1])));
  },
});

function shares(pen, s, x, left, right, top, bottom) {
  const y = scale(0, 1, bottom, top);
  for (const v of [0, 0.5, 1]) { pen.line(left, y(v), right, y(v), 'grid'); pen.text(left - 8, y(v) + 4, `${v * 100}%`, 'mute n', 'end'); }
  for (const [column, cls] of [[1, 'c-ok'], [2, 'dash c-bad']]) {
    const points = [];
    let last = x(0.4);
    for (const row of s.curve) { points.push([last, y(row[column])], [x(row[0]), y(row[column])]); last = x(row[0]); }
    pen.curve(points, cls);
  }
  if (s.best == null) return;
  const b = x(Math.max(0.4, s.best));
  pen.path(`M${b} ${top - 2}l-5 -8h10z`, 'fill c-alt');
  pen.text(b + (b > right - 60 ? -9 : 9), top - 3, 'best', 'halo b col c-alt', b > right - 60 ? 'end' : 'start');
}
