// Points of every lab: a ring for the whole, a bar for each.
export default figure({
  name: 'progress',
  height: (W, s) => Math.max(150, s.labs.length * 26 + 10),
  draw(pen, s, ctx) {
    const cx = 74, cy = 76, r = 54, share = s.most ? s.points / s.most : 0, round = 2 * Math.PI * r;
    pen.dot(cx, cy, r, 'ln c-wait', { style: 'stroke-width:13', opacity: 0.25 });
    pen.dot(cx, cy, r, 'ln c-ok', { style: 'stroke-width:13;stroke-linecap:butt', 'stroke-dasharray': `${round * share} ${round}`, transform: `rotate(-90 ${cx} ${cy})` });
    pen.text(cx, cy + 4, `${num(100 * share)}%`, 'big', 'middle');
    pen.text(cx, cy + 22, `${s.points} of ${s.most}`, 'mute', 'middle');
    const left = 176, name = 170, bar = left + name + 14, right = ctx.W - 64;
    s.labs.forEach((lab, i) => {
      const y = 8 + i * 26, full = lab.points >= lab.most && lab.most > 0, next = lab.number === s.next;
      pen.text(left, y + 13, `${lab.number}`, 'mute n', 'end');
      pen.text(left + 8, y + 13, lab.title, next ? 'b' : '');
      pen.rect(bar, y + 3, right - bar, 12, 'well', { rx: 6 });
      if (lab.points) pen.rect(bar, y + 3, Math.max(12, ((right - bar) * lab.points) / lab.most), 12, `mv ${full ? 'fill c-ok' : 'fill c-main'}`, { rx: 6 });
      pen.text(right + 8, y + 13, full ? `✓ ${lab.most}` : `${lab.points} / ${lab.most}`, full ? 'b n' : 'mute n');
    });
  },
});
