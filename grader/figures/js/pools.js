// Section 9: every possible connection is a small square; the database's limit is a line through them.
export default figure({
  name: 'pools',
  height: (W, s) => 66 + grid(W, s).rows * grid(W, s).step,
  legend: (s) => [['box', 'main', 'pool'], ['tint', 'main', 'overflow'], ['line', 'ink', 'here the database ends'], ['slash', 'bad', 'refused: more than the database has'], ...(s.needed < s.room ? [['open', 'wait', 'free']] : [])],
  draw(pen, s, ctx) {
    const { columns, step } = grid(ctx.W, s), each = s.size + s.overflow, total = Math.min(1600, Math.max(s.needed, s.room)), side = step - Math.max(1, step * 0.16);
    pen.text(0, 20, `${s.needed}`, `big col c-${s.needed > s.room ? 'bad' : 'ok'}`);
    pen.text(String(s.needed).length * 14 + 8, 20, `may be opened, ${s.room} are there`, 'mid');
    pen.text(0, 40, `${s.processes} process${s.processes > 1 ? 'es' : ''}, ${each} connections each; every step of shade is one process`, 'mute');
    for (let i = 0; i < total; i += 1) {
      const x = (i % columns) * step, y = 54 + Math.floor(i / columns) * step, owner = Math.floor(i / each);
      if (i >= s.needed) pen.rect(x, y, side, side, 'open c-wait', { rx: 1.5 });
      else if (i >= s.room) pen.rect(x, y, side, side, 'ln1 c-bad', { rx: 1.5, ...pen.hatched('slash', 'bad') });
      else pen.rect(x, y, side, side, i % each < s.size ? 'fill c-main' : 'tint ln1 c-main', { rx: 1.5, opacity: owner % 2 ? 0.62 : 1 });
    }
    if (s.room >= total) return;
    const row = Math.floor(s.room / columns), x = (s.room % columns) * step - (step - side) / 2, y = 54 + row * step - (step - side) / 2;
    pen.path(`M0 ${y + step}H${x}V${y}H${columns * step}`, 'ln thick c-ink');
  },
});

function grid(W, s) {
  const total = Math.min(1600, Math.max(s.needed, s.room));
  const step = clamp(Math.floor(Math.sqrt((W * 250) / total)), 7, 20), columns = Math.floor(W / step);
  return { step, columns, rows: Math.ceil(total / columns) };
}
