// Section 0: ten rungs, what each one adds, what hurts until then.
export default figure({
  name: 'ladder',
  buttons: true,
  height: (W, s) => s.rungs.length * rowOf(W) + 8,
  legend: () => [['box', 'ok', 'met: must have'], ['tint', 'ok', 'met: should have'], ['open', 'wait', 'not yet']],
  draw(pen, s, ctx) {
    const tight = ctx.W < 560, step = rowOf(ctx.W), cx = 17;
    const y = (i) => 22 + i * step;
    pen.line(cx, y(0), cx, y(s.rungs.length - 1), 'ln thick c-wait', { opacity: 0.35 });
    pen.line(cx, y(0), cx, y(Math.max(0, s.done - 1)), 'ln thick c-ok', { opacity: s.done ? 1 : 0 });
    s.rungs.forEach((rung, i) => {
      const at = y(i), next = i === s.done;
      const row = pen.rect(0, at - 19, ctx.W, step - 4, next ? 'pale c-main' : 'pale c-ink', { rx: 8, opacity: next ? 1 : 0 });
      pen.hot(row, `Lab ${rung.lab}, ${rung.name}: ${rung.done ? 'done' : 'not done'}. Press to finish the labs up to here.`, () => ctx.set('done', rung.lab === s.done ? rung.lab - 1 : rung.lab));
      pen.dot(cx, at, 12, rung.done ? 'fill c-ok' : next ? 'ln paper c-main' : 'ln paper c-wait', { 'pointer-events': 'none' });
      pen.text(cx, at + 4.5, rung.done ? '✓' : rung.lab, rung.done ? 'on' : 'b', 'middle', { 'pointer-events': 'none' });
      pen.text(40, at - 3, rung.name, 'mid', 'start', { 'pointer-events': 'none' });
      pen.text(40, at + 13, rung.done ? 'done' : rung.trouble, `mute ${next ? 'b' : ''}`, 'start', { 'pointer-events': 'none' });
      const chips = [...rung.must.map((name) => [name, true]), ...rung.should.map((name) => [name, false])].map(([name, must]) => ({ name, must, w: name.length * 7.2 + 20 }));
      let left = tight ? 40 : ctx.W - 6 - chips.reduce((sum, chip) => sum + chip.w + 6, -6);
      for (const { name, must, w } of chips) {
        const cls = rung.done ? (must ? 'fill c-ok' : 'tint ln1 c-ok') : 'open c-wait', dy = tight ? 35 : 0;
        pen.rect(left, at - 13 + dy, w, 22, cls, { rx: 11, 'pointer-events': 'none' });
        pen.text(left + w / 2, at + 2 + dy, name, rung.done && must ? 'on' : 'mute', 'middle', { 'pointer-events': 'none' });
        left += w + 6;
      }
    });
  },
});

const rowOf = (W) => (W < 560 ? 74 : W < 620 ? 52 : 40);
