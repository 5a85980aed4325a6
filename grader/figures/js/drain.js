// Section 8: one lane a replica, thin bars are requests, marks tell what the balancer and the kernel did.
export default figure({
  name: 'drain',
  play: { seconds: 9, label: 'Moment in time' },
  height: (W, s) => s.fleet.length * 46 + 40,
  legend: () => [['tint', 'ok', 'the balancer sends here'], ['tint', 'warn', 'finishing what is in flight'], ['box', 'main', 'answered'], ['cross', 'bad', 'refused: the door is closed'], ['back', 'bad', 'cut off'], ['line', 'ink', 'SIGTERM'], ['line', 'bad', 'SIGKILL']],
  draw(pen, s, ctx) {
    const left = 60, right = ctx.W - 20, x = scale(0, s.end, left, right), now = ctx.ui.at * s.end, bottom = 24 + s.fleet.length * 46;
    for (const v of ticks(0, s.end, ctx.W < 620 ? 5 : 9)) { pen.line(x(v), 18, x(v), bottom - 8, 'grid'); pen.text(x(v), 11, `${v} s`, 'mute n', 'middle'); }
    s.fleet.forEach((life, row) => {
      const y = 26 + row * 46, until = (t) => x(Math.min(t, now));
      pen.text(0, y + 20, life.name, life.name.startsWith('new') ? 'b' : '');
      if (now > life.ready) pen.rect(x(life.ready), y, Math.max(0, until(life.unseen) - x(life.ready)), 34, 'tint c-ok', { rx: 4 });
      if (now > life.unseen && life.gone > life.unseen) pen.rect(x(life.unseen), y, until(life.gone) - x(life.unseen), 34, 'tint c-warn', { rx: 4 });
      requests(pen, s, life, x, y, now);
      if (life.term < s.end && now >= life.term) mark(pen, x(life.term), y, 'TERM', 'c-ink');
      if (life.closed < life.gone - 0.05 && now >= life.closed) pen.line(x(life.closed), y - 2, x(life.closed), y + 36, 'ln1 dash c-ink');
      if (life.gone >= life.kill - 1e-6 && life.kill < s.end && now >= life.kill) mark(pen, x(life.kill), y, 'KILL', 'c-bad');
    });
    if (ctx.ui.at < 1) pen.line(x(now), 18, x(now), bottom - 8, 'ln c-alt');
  },
});

function mark(pen, x, y, text, cls) {
  pen.line(x, y - 3, x, y + 37, `ln ${cls}`);
  pen.text(x + 4, y + 7, text, `halo b col ${cls}`, 'start', { style: 'font-size:10px' });
}

function requests(pen, s, life, x, y, now) {
  const rows = [];
  for (const { at, replica, done, end } of s.served) {
    if (replica !== life.name || at > now) continue;
    if (end === 'refused') { pen.cross(x(at), y + 17, 4.5, 'c-bad thick'); continue; }
    let k = rows.findIndex((t) => t <= at + 0.01);
    if (k < 0) k = rows.length;
    rows[k] = done;
    const over = end === 'cut' && now >= done, yy = y + 3 + (k % 6) * 5;
    pen.rect(x(at) + 0.5, yy, Math.max(2, x(Math.min(done, now)) - x(at) - 1), over ? 5 : 3.5, over ? 'ln1 c-bad' : 'fill c-main', { rx: 1.5, ...(over ? pen.hatched('back', 'bad') : {}) });
    if (over) pen.cross(x(done), yy + 2, 2.5, 'c-bad');
  }
}
