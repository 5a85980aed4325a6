// Section 5: one row a client; a solid bar is a paid call, a hatched one waits for the leader.
export default figure({
  name: 'stampede',
  play: { seconds: 5, label: 'Moment in time' },
  height: (W, s) => 44 + s.askers.length * rowOf(s) + 62,
  legend: () => [['box', 'warn', 'a call that is paid'], ['back', 'main', 'waits for the call of another'], ['dot', 'ok', 'answered from the cache at once']],
  draw(pen, s, ctx) {
    const left = 94, right = ctx.W - 14, top = 26, row = rowOf(s), bottom = top + s.askers.length * row + 6, now = ctx.ui.at * s.end, x = scale(0, s.end, left, right);
    for (const v of ticks(0, s.end, 7)) { pen.line(x(v), top - 8, x(v), bottom, 'grid'); pen.text(x(v), 11, clock(v), 'mute n', 'middle'); }
    pen.text(0, top + 12, `${s.askers.length} clients`, 'b');
    pen.text(0, top + 28, 'one question', 'mute');
    s.askers.forEach(({ at, done, did }, i) => {
      if (at > now) return;
      const y = top + i * row, h = row - 2, w = Math.max(2, x(Math.min(done, now)) - x(at));
      if (did === 'hit') pen.dot(x(at), y + h / 2, Math.min(4.5, h / 2 + 1), 'fill c-ok');
      else pen.rect(x(at), y, w, h, did === 'calls' ? 'fill c-warn' : 'ln1 c-main', { rx: Math.min(3, h / 2), ...(did === 'calls' ? {} : pen.hatched('back', 'main')) });
    });
    if (ctx.ui.at < 1) pen.line(x(now), top - 8, x(now), bottom, 'ln c-alt');
    const most = Math.max(...Object.values(s.calls)), w = scale(0, most, 0, right - left - 90);
    [['plain', 'each alone'], ['shared', 'single flight']].forEach(([name, text], i) => {
      const y = bottom + 14 + i * 23, mine = name === s.mine;
      pen.text(left - 8, y + 12, text, mine ? 'b' : 'mute', 'end');
      pen.rect(left, y, Math.max(3, w(s.calls[name])), 15, `mv ${mine ? 'fill' : 'tint'} c-warn`, { rx: 3 });
      pen.text(left + Math.max(3, w(s.calls[name])) + 8, y + 12, `${s.calls[name]} ${s.calls[name] === 1 ? 'call' : 'calls'}`, mine ? 'b n' : 'mute n');
    });
  },
});

const rowOf = (s) => clamp(Math.floor(230 / s.askers.length), 6, 18);
