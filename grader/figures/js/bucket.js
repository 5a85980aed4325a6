// Section 4: the level of one bucket, second by second.
export default figure({
  name: 'bucket',
  height: () => 290,
  legend: () => [['line', 'main', 'tokens in the bucket'], ['dot', 'ok', 'request passes'], ['cross', 'bad', 'refused'], ['diamond', 'alt', 'asks for a negative number']],
  draw(pen, s, ctx) {
    const left = 44, right = ctx.W - 14, top = 34, bottom = 210, high = Math.max(s.capacity, ...s.steps.map((p) => p[2]));
    const x = scale(0, s.end, left, right), y = scale(0, high, bottom, top);
    pen.axisY(y, ticks(0, high, 4), left, right, num, 'tokens');
    for (const v of ticks(0, s.end, 6)) pen.text(x(v), 266, `${v} s`, 'mute n', 'middle');
    const points = [[x(0), y(s.capacity)]];
    let at = 0, now = s.capacity;
    for (const [t, before, after] of s.steps) {
      const full = at + (s.capacity - now) / s.refill;
      if (now > s.capacity) points.push([x(at + 0.02), y(s.capacity)]);
      else if (full < t) points.push([x(full), y(s.capacity)]);
      points.push([x(t), y(before)], [x(t), y(after)]);
      at = t;
      now = after;
    }
    pen.path(`M${points.map((p) => p.map((v) => v.toFixed(1)).join(' ')).join('L')}L${x(at)} ${bottom}H${left}Z`, 'pale c-main');
    pen.curve(points, 'c-main');
    pen.line(left, y(s.capacity), right, y(s.capacity), 'ln ln1 dash c-ink');
    pen.text(right, y(s.capacity) - 7, `capacity ${s.capacity}`, 'halo b', 'end');
    pen.line(left, bottom, right, bottom, 'base');
    s.steps.forEach(([t, , , ok], i) => {
      if (s.costs[i] <= 0) pen.path(`M${x(t)} 223l7 7l-7 7l-7 -7z`, ok ? 'fill c-alt' : 'ln c-alt');
      else if (ok) pen.dot(x(t), 230, 4.5, 'fill c-ok');
      else pen.cross(x(t), 230, 4, 'c-bad');
    });
  },
});
