// Section 7: a tree of attempts, level by level, and the load curve beside it (below, where it is narrow).
export default figure({
  name: 'storm',
  height: (W) => (W < 640 ? 452 : 258),
  legend: (s) => [['dot', 'main', 'one attempt'], ['dot', 'bad', 'calls that reach the provider'], ['line', 'bad', s.budget ? 'average load, with the budget' : 'average load'], ['dash', 'wait', s.budget ? 'without the budget' : 'twice the load']],
  draw(pen, s, ctx) {
    const narrow = ctx.W < 640, wide = narrow ? ctx.W : ctx.W * 0.58;
    tree(pen, s, 0, wide - (narrow ? 0 : 30));
    curve(pen, s, narrow ? 40 : wide + 34, narrow ? 282 : 34, ctx.W - 20, narrow ? 408 : 214);
  },
});

function tree(pen, s, left, right) {
  const levels = s.sizes.length, names = ['request', ...['client', 'gateway', 'framework', 'SDK'].slice(0, levels - 1)], top = 30, bottom = 214, mid = (top + bottom) / 2;
  const x = (level) => left + 30 + ((right - left - 60) * level) / Math.max(1, levels - 1);
  const spots = s.sizes.map((size, level) => {
    const rows = Math.min(size, Math.max(9, Math.ceil(Math.sqrt(size * 3)))), step = Math.min(20, (bottom - top) / rows), columns = Math.ceil(size / rows);
    return { r: clamp(step / 2 - 1, 1.6, 6), at: Array.from({ length: size }, (_, i) => [x(level) + (Math.floor(i / rows) - (columns - 1) / 2) * step, mid + ((i % rows) - (Math.min(rows, size) - 1) / 2) * step]) };
  });
  for (let level = 1; level < levels; level += 1) {
    const [up, here] = [spots[level - 1], spots[level]], fan = here.at.length / up.at.length;
    if (here.at.length > 130) {
      const [x1] = up.at[up.at.length - 1], [x2] = here.at[0];
      pen.path(`M${x1 + 6} ${mid - 50}L${x2 - 6} ${top}V${bottom}L${x1 + 6} ${mid + 50}Z`, 'pale c-main');
    } else here.at.forEach(([a, b], i) => { const [c, d] = up.at[Math.floor(i / fan)]; pen.path(`M${c} ${d}C${(a + c) / 2} ${d} ${(a + c) / 2} ${b} ${a} ${b}`, 'ln c-main', { style: 'stroke-width:1', opacity: 0.4 }); });
  }
  spots.forEach(({ r, at }, level) => {
    const last = level === levels - 1;
    for (const [cx, cy] of at) pen.dot(cx, cy, level ? r : 8, last && level ? 'fill c-bad' : level ? 'fill c-main' : 'fill c-ink');
    pen.text(x(level), 14, last && level ? 'provider' : names[level], 'b', 'middle');
    pen.text(x(level), 240, `${s.sizes[level]}`, level ? 'mid n' : 'mute n', 'middle');
  });
}

function curve(pen, s, left, top, right, bottom) {
  const most = Math.max(2, ...s.curve.map((row) => row[2])), y = scale(1, most, bottom, top), x = scale(0, 1, left, right);
  pen.text(left - 30, top - 20, 'calls per request, on average', 'mute');
  pen.axisY(y, [1, ...ticks(1, most, 4).filter((v) => v > 1.4)], left, right, (v) => `${num(v, 1)}×`);
  for (const v of [0, 0.25, 0.5, 0.75, 1]) pen.text(x(v), bottom + 18, `${v * 100}%`, 'mute n', 'middle');
  pen.text((left + right) / 2, bottom + 36, 'calls that fail', 'mute', 'middle');
  pen.curve(s.budget ? s.curve.map(([f, , free]) => [x(f), y(free)]) : [[left, y(2)], [right, y(2)]], 'dash c-wait');
  pen.curve(s.curve.map(([f, capped]) => [x(f), y(capped)]), 'c-bad');
  pen.dot(x(s.failing), y(s.now), 6, 'fill c-bad mv');
  pen.text(x(s.failing) - 11, y(s.now) - 9, `${fix(s.now, 2)}×`, 'b halo', s.failing < 0.2 ? 'start' : 'end');
}
