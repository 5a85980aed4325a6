// Section 8: layers of an image from the ground up; what is built again, what comes from the cache.
export default figure({
  name: 'layers',
  height: (W, s) => s.steps.length * 42 + 122,
  legend: () => [['box', 'warn', 'built again'], ['slash', 'ok', 'from the cache'], ['dot', 'alt', 'reads what you changed']],
  draw(pen, s, ctx) {
    const wide = Math.min(430, ctx.W * 0.66), left = 18, n = s.steps.length;
    const most = Math.max(...s.steps.map((step) => step.seconds)), w = scale(0, most, 0, ctx.W - wide - 130);
    pen.text(left, 12, 'layer', 'mute');
    pen.text(wide + 18, 12, 'time', 'mute');
    pen.text(ctx.W - 4, 12, 'size', 'mute', 'end');
    s.steps.forEach((step, i) => {
      const y = 22 + i * 42;
      const first = step.reads.includes(ctx.params.changed);
      pen.rect(left, y, wide - left, 36, `mv ${step.runs ? 'fill c-warn' : 'ln1 c-ok'}`, { rx: 6, ...(step.runs ? {} : pen.hatched('slash', 'ok')) });
      const fits = step.text.length * 7 < wide - left - 28;
      pen.text(left + 14, y + 22, fits ? step.text : `${step.text.slice(0, Math.floor((wide - left - 40) / 7))}…`, `mono ${step.runs ? 'on' : 'halo'}`);
      if (first) pen.dot(left - 11, y + 18, 5, 'fill c-alt');
      if (step.runs) pen.rect(wide + 18, y + 12, Math.max(2, w(step.seconds)), 12, 'fill c-warn mv', { rx: 3 });
      pen.text(wide + 24 + (step.runs ? Math.max(2, w(step.seconds)) : -6), y + 22, step.runs ? clock(step.seconds) : 'cached', step.runs ? 'b n' : 'mute');
      pen.text(ctx.W - 4, y + 22, step.megabytes ? `${num(step.megabytes, 1)} MB` : 'not kept', 'mute n', 'end');
    });
    const y = 30 + n * 42 + 12, longest = Math.max(...s.totals.map((t) => t.seconds), 1), u = scale(0, longest, 0, ctx.W - 250);
    pen.text(left, y, 'The same change under each Dockerfile', 'b');
    s.totals.forEach((total, i) => {
      pen.text(150, y + 22 + i * 22, total.name, total.mine ? 'b' : 'mute', 'end');
      pen.rect(160, y + 10 + i * 22, Math.max(2, u(total.seconds)), 15, `mv c-warn ${total.mine ? 'fill' : 'tint'}`, { rx: 3 });
      pen.text(168 + Math.max(2, u(total.seconds)), y + 22 + i * 22, clock(total.seconds), total.mine ? 'b n' : 'mute n');
    });
  },
});
