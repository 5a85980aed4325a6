// Section 2: two readers of the same answer; each token is a small box.
export default figure({
  name: 'streaming',
  play: { seconds: 7, label: 'Moment in time' },
  height: () => 236,
  legend: (s) => [['box', 'ok', 'token the reader has seen'], ['tint', 'wait', 'made, not yet seen'], ['slash', 'bad', 'made and paid for nobody'], ...(s.leaves == null ? [] : [['line', 'alt', 'the reader leaves']])],
  draw(pen, s, ctx) {
    const left = 84, right = ctx.W - 16, end = s.whole * 1.06, x = scale(0, end, left, right), now = ctx.ui.at >= 1 ? end : ctx.ui.at * end;
    for (const v of ticks(0, end, ctx.W < 620 ? 4 : 7)) { pen.line(x(v), 18, x(v), 184, 'grid'); pen.text(x(v), 10, clock(v), 'mute n', 'middle'); }
    const w = clamp((right - left) / s.times.length - 1, 1.5, 9), leaves = s.leaves ?? Infinity;
    for (const [name, note, y, seenAt] of [['streamed', 'as made', 34, (t) => t], ['whole', 'at the end', 118, () => s.whole]]) {
      pen.text(0, y + 18, name, 'b');
      pen.text(0, y + 34, note, 'mute');
      s.times.forEach((t, i) => {
        if (t > now || i >= s.made) return;
        const seen = seenAt(t) <= Math.min(now, leaves), wasted = now >= leaves && !seen;
        pen.rect(x(t) - w / 2, y, w, 34, seen ? 'fill c-ok' : wasted ? 'ln1 c-bad' : 'tint ln1 c-wait', { rx: Math.min(2, w / 3), ...(wasted ? pen.hatched('slash', 'bad') : {}) });
      });
      const first = seenAt(s.times[0]);
      if (first <= Math.min(now, leaves)) {
        pen.path(`M${x(0)} ${y + 44}H${x(first)}m-5 -4l5 4l-5 4`, 'ln c-ink');
        pen.text(Math.max(x(0), x(first) - 3), y + 59, `first word after ${clock(first)}`, 'b halo', x(first) > left + 170 ? 'end' : 'start');
      } else if (now >= leaves) pen.text(x(0) + 4, y + 59, 'nothing was read', 'b halo');
    }
    if (s.leaves != null && now >= s.leaves) { pen.line(x(s.leaves), 20, x(s.leaves), 188, 'ln c-alt'); pen.text(x(s.leaves), 202, 'the reader leaves', 'b', x(s.leaves) > right - 90 ? 'end' : 'middle'); }
    if (ctx.ui.at < 1) pen.line(x(now), 18, x(now), 184, 'ln1 dash c-ink');
    const paid = s.times.filter((t, i) => t <= now && i < s.made).length;
    pen.text(0, 226, `${paid} tokens made and paid`, 'mute n');
  },
});
