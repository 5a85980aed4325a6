// Section 9: demand as a line, capacity as a staircase, what is lost between them hatched.
export default figure({
  name: 'autoscale',
  height: () => 344,
  legend: () => [['line', 'main', 'demand'], ['tint', 'ok', 'capacity of the ready replicas'], ['slash', 'bad', 'more than they can serve'], ['dash', 'wait', 'fixed fleet for the peak']],
  draw(pen, s, ctx) {
    const left = 36, right = ctx.W - 22, top = 26, bottom = 240, n = s.loads.length;
    const high = Math.max(s.fixed * s.capacity, ...s.sizes.map((v) => v * s.capacity)) * 1.06, x = scale(0, n, left, right), y = scale(0, high, bottom, top);
    pen.text(0, 10, 'requests a second', 'mute');
    for (const v of ticks(0, high, 5)) { pen.line(left, y(v), right, y(v), 'grid'); pen.text(left - 8, y(v) + 4, v, 'mute n', 'end'); }
    for (let hour = 0; hour <= 24; hour += ctx.W < 620 ? 6 : 3) pen.text(x((hour * n) / 24), bottom + 18, `${String(hour).padStart(2, '0')}:00`, 'mute n', 'middle');
    let d = `M${left} ${bottom}`;
    s.sizes.forEach((size, i) => { d += `L${x(i).toFixed(1)} ${y(size * s.capacity).toFixed(1)}H${x(i + 1).toFixed(1)}`; });
    pen.path(`${d}V${bottom}Z`, 'tint c-ok');
    pen.path(d, 'ln c-ok', { style: 'stroke-width:1.4' });
    pen.line(left, y(s.fixed * s.capacity), right, y(s.fixed * s.capacity), 'ln dash c-wait');
    s.loads.forEach((load, i) => {
      const cap = s.sizes[i] * s.capacity;
      if (load > cap) pen.rect(x(i), y(load), x(i + 1) - x(i) + 0.5, y(cap) - y(load), '', pen.hatched('slash', 'bad'));
    });
    pen.curve(s.loads.map((v, i) => [x(i + 0.5), y(v)]), 'c-main');
    const yy = 282, w = scale(0, Math.max(s.fixedHours, s.hours), 0, right - 200);
    [['fixed fleet', s.fixedHours, false], ['autoscaled', s.hours, true]].forEach(([name, value, mine], i) => {
      pen.text(78, yy + 12 + i * 22, name, mine ? 'b' : 'mute', 'end');
      pen.rect(86, yy + i * 22, w(value), 15, `mv c-ok ${mine ? 'fill' : 'tint'}`, { rx: 3 });
      pen.text(94 + w(value), yy + 12 + i * 22, `${num(value)} replica hours`, mine ? 'b n' : 'mute n');
    });
  },
});
