// Section 10: the phases of an incident, the two burn rates of the alert, the budget that is left.
export default figure({
  name: 'budget',
  play: { seconds: 7, label: 'Moment in time' },
  height: () => 366,
  legend: (s) => [['back', 'bad', 'nobody knows'], ['tint', 'warn', 'being mended'], ['line', 'main', `burn rate over ${s.names[0]}`], ['dash', 'alt', `over ${s.names[1]}`], ['line', 'ok', 'budget left']],
  draw(pen, s, ctx) {
    const left = 66, right = ctx.W - 20, x = scale(0, s.end, left, right), now = Math.round(ctx.ui.at * s.end), at = (m) => `${m / 60} h`;
    for (let m = 0; m <= s.end; m += 60) { pen.line(x(m), 44, x(m), 330, 'grid'); pen.text(x(m), 348, at(m), 'mute n', 'middle'); }
    phases(pen, s, x, now);
    rates(pen, s, x, left, right, now, 74, 190);
    budget(pen, s, x, left, right, now, 226, 330);
    for (const [minute, text, cls] of [[s.start, 'breaks', 'c-bad'], [s.paged, 'page', 'c-ink'], [s.paged && s.mended < s.end ? s.mended : null, 'mended', 'c-ok']]) if (minute != null && minute <= now) pen.line(x(minute), 44, x(minute), 330, `ln1 ${cls}`);
    if (ctx.ui.at < 1) pen.line(x(now), 40, x(now), 330, 'ln c-alt');
  },
});

function phases(pen, s, x, now) {
  const until = (m) => x(Math.min(m, now)), known = s.paged ?? s.end, y = 20;
  pen.rect(x(0), y, until(s.start) - x(0), 24, 'tint c-ok', { rx: 4 });
  if (now > s.start) pen.rect(x(s.start), y, until(known) - x(s.start), 24, 'ln1 c-bad', { rx: 4, ...pen.hatched('back', 'bad') });
  if (now > known) pen.rect(x(known), y, until(s.mended) - x(known), 24, 'tint ln1 c-warn', { rx: 4 });
  if (now > s.mended) pen.rect(x(s.mended), y, x(now) - x(s.mended), 24, 'tint c-ok', { rx: 4 });
  const word = (from, to, text, cls = '') => { if (x(to) - x(from) > text.length * 7 + 8 && now >= to) pen.text((x(from) + x(to)) / 2, y + 16, text, `b halo ${cls}`, 'middle'); };
  word(0, s.start, 'quiet');
  word(s.start, known, s.paged == null ? 'nobody knows' : `${known - s.start} min unseen`);
  word(known, s.mended, `${s.mended - known} min to mend`);
  word(s.mended, s.end, 'recovered');
  pen.text(x(s.start), 12, 'it breaks', 'b', 'middle');
  if (s.paged != null && now >= s.paged) { const close = x(s.paged) - x(s.start) < 70; pen.text(x(s.paged) + (close ? 34 : 0), 12, 'page', 'b', close ? 'start' : 'middle'); }
}

function rates(pen, s, x, left, right, now, top, bottom) {
  const most = Math.max(s.rate * 1.3, ...s.long, ...s.short), y = scale(0, most, bottom, top);
  pen.text(0, top - 10, 'burn rate', 'mute');
  for (const v of ticks(0, most, 3)) { pen.line(left, y(v), right, y(v), 'grid'); pen.text(left - 8, y(v) + 4, `${num(v, 1)}×`, 'mute n', 'end'); }
  pen.line(left, y(s.rate), right, y(s.rate), 'ln dots c-bad');
  pen.text(right, y(s.rate) - 5, `alert at ${s.rate}×`, 'b halo', 'end');
  const line = (values) => values.slice(0, now).map((v, i) => [x(i + 1), y(v)]);
  pen.curve(line(s.short), 'dash c-alt');
  pen.curve(line(s.long), 'c-main');
}

function budget(pen, s, x, left, right, now, top, bottom) {
  const y = scale(0, 1, bottom, top), values = s.left.slice(0, Math.max(1, now)).map((v, i) => [x(i + 1), y(Math.max(0, v))]);
  pen.text(0, top - 10, 'budget left of the month', 'mute');
  for (const v of [0, 0.5, 1]) { pen.line(left, y(v), right, y(v), v ? 'grid' : 'base'); pen.text(left - 8, y(v) + 4, `${v * 100}%`, 'mute n', 'end'); }
  pen.path(`M${x(0)} ${y(1)}L${values.map((p) => p.join(' ')).join('L')}V${bottom}H${x(0)}Z`, 'pale c-ok');
  pen.curve([[x(0), y(1)], ...values], 'c-ok thick');
  const [lx, ly] = values[values.length - 1], share = Math.max(0, s.left[Math.max(0, now - 1)]);
  pen.dot(lx, ly, 4.5, 'fill c-ok');
  pen.text(lx - 8, ly + (share > 0.2 ? 20 : -10), `${fix(100 * share, 0)}% left`, 'b halo', 'end');
}
