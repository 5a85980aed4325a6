// Section 3: a grid of callers and routes; below it the two questions every request is asked.
export default figure({
  name: 'roles',
  buttons: true,
  height: (W, s) => 62 + s.callers.length * 36 + 74,
  legend: () => [['box', 'ok', '200 comes in'], ['slash', 'warn', '401 who are you?'], ['back', 'bad', '403 you may not'], ['open', 'bad', 'wrong answer of this check']],
  draw(pen, s, ctx) {
    const left = 86, w = (ctx.W - left - 2) / s.routes.length, top = 56;
    s.routes.forEach((route, i) => {
      const [verb, path] = route.split(' '), x = left + i * w + w / 2, mine = route === ctx.params.route;
      const short = path.length * 7 > w ? path.replace('-operation', '-op.').replace('/users/x', '/…') : path;
      pen.text(x, 14, verb, `mute ${mine ? 'b' : ''}`, 'middle');
      pen.text(x, 30, short, mine ? 'b' : '', 'middle');
      pen.text(x, 46, `needs ${s.needs[i]}`, 'mute', 'middle');
    });
    s.callers.forEach((caller, row) => {
      const y = top + row * 36, mine = caller === ctx.params.caller, rank = s.ranks.indexOf(caller);
      if (mine) pen.rect(0, y - 1, ctx.W, 34, 'pale c-main', { rx: 8 });
      pen.text(8, y + 21, caller, mine ? 'b' : '');
      for (let k = 0; k <= rank; k += 1) pen.rect(left - 26 + k * 7, y + 20 - k * 5, 5, 4 + k * 5, 'fill c-main', { rx: 1 });
      s.routes.forEach((route, i) => {
        const [status, why] = s.grid[caller][route], wrong = status !== s.right[caller][i], x = left + i * w, chosen = mine && route === ctx.params.route;
        const look = { 200: ['fill c-ok', {}], 401: ['ln1 c-warn', pen.hatched('slash', 'warn')], 403: ['ln1 c-bad', pen.hatched('back', 'bad')] }[status];
        const box = pen.rect(x + 5, y + 4, w - 10, 25, look[0], { rx: 6, ...look[1] });
        pen.hot(box, `${caller}, ${route}: ${status}, ${why}`, () => { ctx.model.set('params', { ...ctx.params, caller, route }); ctx.model.save_changes(); }, chosen);
        if (wrong) pen.rect(x + 1, y, w - 2, 33, 'open c-bad', { rx: 9, style: 'stroke-width:2', 'pointer-events': 'none' });
        if (chosen) pen.rect(x + 3, y + 2, w - 6, 29, 'ring c-ink', { rx: 8, style: 'fill:none', 'pointer-events': 'none' });
        pen.text(x + w / 2, y + 21, status === 200 ? '✓ 200' : `${status}${wrong ? ' wrong' : ''}`, status === 200 ? 'on' : 'b halo', 'middle', { 'pointer-events': 'none' });
      });
    });
    questions(pen, s, ctx, top + s.callers.length * 36 + 34);
  },
});

function questions(pen, s, ctx, y) {
  const [status] = s.grid[ctx.params.caller][ctx.params.route];
  const stops = [['Who are you?', status !== 401, '401'], ['May you?', status === 200, '403'], ['The handler runs', true, '']], w = ctx.W / 3;
  let open = true;
  stops.forEach(([text, passed, code], i) => {
    const x = i * w + w / 2, role = !open ? 'wait' : passed ? 'ok' : 'bad';
    if (i) pen.path(`M${x - w + 80} ${y}H${x - 84}m-6 -5l6 5l-6 5`, `ln ${open ? 'c-ok' : 'c-wait dots'}`);
    pen.rect(x - 74, y - 17, 148, 34, `ln1 ${open ? 'tint' : 'pale'} c-${role}`, { rx: 17 });
    pen.text(x, y + 4, open && !passed ? `${text} ✕ ${code}` : open ? `${text} ✓` : text, open ? 'b' : 'mute', 'middle');
    open = open && passed;
  });
}
