// Section 7: the provider's health, the breaker's state, every request.
const STATE = { closed: ['ok', 'tint ln1', null], open: ['bad', 'ln1', 'back'], 'half open': ['warn', 'fill', null] };

export default figure({
  name: 'breaker',
  play: { seconds: 8, label: 'Moment in time' },
  height: () => 300,
  legend: () => [['tint', 'ok', 'closed'], ['back', 'bad', 'open'], ['box', 'warn', 'half open: one probe'], ['box', 'main', 'call answered'], ['slash', 'wait', 'call that waits in vain'], ['cross', 'alt', 'spared: fallback at once']],
  draw(pen, s, ctx) {
    const left = 98, right = ctx.W - 20, x = scale(0, s.end, left, right), now = ctx.ui.at * s.end;
    for (const v of ticks(0, s.end, 7)) { pen.line(x(v), 20, x(v), 214, 'grid'); pen.text(x(v), 11, `${v} s`, 'mute n', 'middle'); }
    pen.text(0, 42, 'provider', 'b');
    pen.rect(left, 28, right - left, 20, 'tint ln1 c-ok', { rx: 4 });
    const [a, b] = s.trouble;
    if (b > a) {
      pen.rect(x(a), 28, x(b) - x(a), 20, 'paper');
      pen.rect(x(a), 28, x(b) - x(a), 20, 'ln1 c-bad', { rx: 2, ...pen.hatched('slash', 'bad') });
      if (x(b) - x(a) > 110) pen.text((x(a) + x(b)) / 2, 42, `${num(s.failing * 100)}% fail`, 'b halo', 'middle');
    }
    pen.text(0, 84, 'breaker', 'b');
    for (const [from, state, to] of s.states) {
      if (from > now) continue;
      const [role, cls, hatch] = STATE[state], w = Math.max(2, x(Math.min(to, now)) - x(from));
      pen.rect(x(from), 66, w, 28, `${cls} c-${role}`, { rx: 3, ...(hatch ? pen.hatched(hatch, role) : {}) });
      if (w > 50) pen.text(x(from) + w / 2, 85, state, 'b halo', 'middle');
    }
    pen.text(0, 146, 'requests', 'b');
    const lanes = [];
    s.calls.forEach((call) => {
      if (call.at > now) return;
      if (call.end === 'spared') { pen.cross(x(call.at), 204, 3.2, 'c-alt'); return; }
      let lane = lanes.findIndex((until) => until <= call.at + 1e-9);
      if (lane < 0) lane = lanes.length;
      lanes[lane] = call.done;
      const y = 112 + Math.min(lane, 9) * 8.5, w = Math.max(2.5, x(Math.min(call.done, now)) - x(call.at));
      pen.rect(x(call.at), y, w, 6.5, call.end === 'ok' ? 'fill c-main' : 'ln1 c-wait', { rx: 2, ...(call.end === 'ok' ? {} : pen.hatched('slash', 'wait')) });
      if (call.probe) pen.path(`M${x(call.at)} ${y - 1}l-4.5 -7h9z`, 'fill c-warn');
    });
    pen.text(0, 208, 'spared', 'mute');
    if (ctx.ui.at < 1) pen.line(x(now), 20, x(now), 214, 'ln c-alt');
    const most = Math.max(s.wasted.without, s.wasted.with, 1), w = scale(0, most, 0, right - left - 110);
    pen.text(0, 238, 'waited in vain', 'b');
    [['without', 'without it'], ['with', 'with breaker']].forEach(([key, name], i) => {
      const y = 248 + i * 22;
      pen.text(left - 8, y + 12, name, i ? 'b' : 'mute', 'end');
      pen.rect(left, y, Math.max(2, w(s.wasted[key])), 15, `mv c-main ${i ? 'fill' : 'tint'}`, { rx: 3 });
      pen.text(left + Math.max(2, w(s.wasted[key])) + 8, y + 12, `${num(s.wasted[key])} s`, 'n b');
    });
  },
});
