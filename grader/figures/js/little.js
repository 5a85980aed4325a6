// Section 9: two staircases, arrivals and departures; between them stand those who are inside.
export default figure({
  name: 'little',
  play: { seconds: 7, label: 'Moment in time' },
  height: () => 272,
  legend: () => [['line', 'main', 'arrived so far'], ['dash', 'ok', 'left so far'], ['tint', 'warn', 'inside (area = time spent inside)']],
  draw(pen, s, ctx) {
    const left = 44, right = ctx.W - 110, top = 20, bottom = 222, n = s.came.length, now = ctx.ui.at * s.end, x = scale(0, s.end, left, right), y = scale(0, n, bottom, top);
    for (const v of ticks(0, n, 4)) { pen.line(left, y(v), right, y(v), 'grid'); pen.text(left - 8, y(v) + 4, v, 'mute n', 'end'); }
    for (const v of timeTicks(s.end, ctx.W < 620 ? 4 : 7)) pen.text(x(v), bottom + 18, clock(v), 'mute n', 'middle');
    pen.text((left + right) / 2, bottom + 36, 'time', 'mute', 'middle');
    const stairs = (times) => { const out = [[x(0), y(0)]]; times.filter((t) => t <= now).forEach((t, i) => out.push([x(t), y(i)], [x(t), y(i + 1)])); out.push([x(now), out[out.length - 1][1]]); return out; };
    const up = stairs(s.came), down = stairs(s.left);
    pen.path(`M${[...up, ...down.reverse()].map((p) => p.join(' ')).join('L')}Z`, 'tint c-warn');
    pen.curve(up, 'c-main');
    pen.curve(stairs(s.left), 'dash c-ok');
    const probe = ctx.ui.at < 1 ? now : s.end / 2, inside = s.came.filter((t) => t <= probe).length - s.left.filter((t) => t <= probe).length;
    const hi = y(s.came.filter((t) => t <= probe).length), lo = y(s.left.filter((t) => t <= probe).length);
    pen.line(x(probe), hi, x(probe), lo, 'ln thick c-bad');
    pen.text(x(probe) + 9, (hi + lo) / 2 + 5, `${inside} inside`, 'b halo');
    pen.text(right + 24, top + 40, `L = ${num(s.law, 2)}`, 'big');
    pen.text(right + 24, top + 60, 'λ · W', 'mute');
    pen.text(right + 24, top + 104, fix(s.inside, 2), 'mid n');
    pen.text(right + 24, top + 122, 'in this run,', 'mute');
    pen.text(right + 24, top + 138, 'ends included', 'mute');
  },
});
