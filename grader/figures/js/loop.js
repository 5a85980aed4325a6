// Section 2: one row a request; waiting is dotted, the provider's call is solid.
const NAMES = [['sync', 'blocking'], ['await', 'awaited'], ['threads', 'thread pool']];

export default figure({
  name: 'loop',
  play: { seconds: 6, label: 'Moment in time' },
  height: (W, s) => rowHeight(s) * s.spans.length + 178,
  legend: () => [['dots', 'wait', 'waits for its turn'], ['box', 'main', 'call at the provider'], ['line', 'ink', 'answered'], ['slash', 'bad', 'health probe waits']],
  draw(pen, s, ctx) {
    const left = 92, right = ctx.W - 16, top = 22, row = rowHeight(s), n = s.spans.length, bottom = top + n * row + 4;
    const end = Math.max(s.ends[s.style], 1e-9) * 1.02, x = scale(0, end, left, right), now = ctx.ui.at * end;
    for (const v of ticks(0, end, ctx.W < 620 ? 4 : 7)) { pen.line(x(v), top - 6, x(v), bottom + 30, 'grid'); pen.text(x(v), 10, clock(v), 'mute n', 'middle'); }
    pen.text(0, top + 11, `${n} request${n > 1 ? 's' : ''}`, 'b');
    pen.text(0, top + 27, s.style === 'sync' ? 'one by one' : s.style === 'await' ? 'all at once' : 'a pool', 'mute');
    s.spans.forEach(({ begin, end: back, done }, i) => {
      const y = top + i * row, h = Math.max(2, row - 2);
      pen.line(x(0), y + h / 2, x(Math.min(begin, now)), y + h / 2, 'ln1 dots c-wait');
      if (now > begin) pen.rect(x(begin), y, Math.max(1.5, x(Math.min(back, now)) - x(begin)), h, 'fill c-main', { rx: Math.min(2, h / 2) });
      if (now >= done - 1e-9) pen.line(x(done), y, x(done), y + h, 'ln c-ink');
    });
    const [at, wait] = s.probe, until = Math.min(now, at + wait);
    pen.text(0, bottom + 19, '/livez', 'b');
    pen.path(`M${x(at)} ${bottom + 4}v22`, 'ln c-ink');
    if (now > at) pen.rect(x(at), bottom + 7, Math.max(2, x(until) - x(at)), 16, wait > 0.05 ? 'ln1 c-bad' : 'fill c-ok', { rx: 2, ...(wait > 0.05 ? pen.hatched('slash', 'bad') : {}) });
    if (now > at + wait * 0.5) { const inside = x(at + wait) - x(at) > 110; pen.text(inside ? x(at) + 8 : x(at + wait) + 8, bottom + 19, `waits ${exact(wait)}`, 'b halo'); }
    if (ctx.ui.at < 1) pen.line(x(now), top - 6, x(now), bottom + 30, 'ln c-alt');
    compare(pen, s, left, right, bottom + 62);
  },
});

const rowHeight = (s) => clamp(Math.floor(230 / s.spans.length), 4, 16);

function compare(pen, s, left, right, y) {
  const most = Math.max(...Object.values(s.ends)), w = scale(0, most, 0, right - left - 70);
  pen.text(0, y - 10, 'All answered after', 'b');
  NAMES.forEach(([style, name], i) => {
    const at = y + i * 23, mine = style === s.style;
    pen.text(left - 8, at + 13, name, mine ? 'b' : 'mute', 'end');
    pen.rect(left, at + 2, Math.max(2, w(s.ends[style])), 15, `mv ${mine ? 'fill c-main' : 'tint c-main'}`, { rx: 3 });
    pen.text(left + Math.max(2, w(s.ends[style])) + 8, at + 14, exact(s.ends[style]), mine ? 'b n' : 'mute n');
  });
}
