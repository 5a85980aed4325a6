// Section 6: processes as lanes, log lines as dots on a (bent) time axis; below, the log itself.
export default figure({
  name: 'trail',
  height: (W, s) => s.sources.length * 30 + 42,
  legend: (s) => [['dot', 'main', s.ids ? `lines of ${s.id}` : 'lines that may be meant'], ['ring', 'wait', 'other lines'], ...(s.ids ? [['line', 'alt', 'where the time went']] : [])],
  draw(pen, s, ctx) {
    const left = 84, right = ctx.W - 14, bend = (ms) => Math.log10(1 + ms / 4), x0 = scale(0, bend(2500), left + 8, right), x = (ms) => x0(bend(ms));
    const y = (source) => 34 + s.sources.indexOf(source) * 30, bottom = 34 + (s.sources.length - 1) * 30;
    for (const v of ctx.W < 620 ? [0, 10, 100, 1000] : [0, 10, 50, 100, 500, 1000, 2000]) { pen.line(x(v), 20, x(v), bottom + 12, 'grid'); pen.text(x(v), 12, v < 1000 ? `${v} ms` : `${v / 1000} s`, 'mute n', 'middle'); }
    for (const source of s.sources) { pen.text(0, y(source) + 4, source, 'b'); pen.line(left, y(source), right, y(source), 'grid'); }
    const mine = s.lines.filter((line) => line.on);
    if (s.ids) pen.curve(mine.map((line) => [x(line.at), y(line.source)]), 'c-main', { opacity: 0.55 });
    if (s.gap) {
      const [a, b] = s.gap.map((ms) => mine.find((line) => line.at === ms)), yy = Math.max(y(a.source), y(b.source));
      pen.line(x(a.at), y(a.source), x(b.at), y(b.source), 'ln thick c-alt', { style: 'stroke-width:6', opacity: 0.8 });
      pen.text((x(a.at) + x(b.at)) / 2, yy + 19, `${num(b.at - a.at)} ms`, 'halo b', 'middle');
    }
    s.lines.forEach((line) => pen.tip(pen.dot(x(line.at), y(line.source), line.on ? 5.5 : 4, line.on ? 'fill c-main' : 'ln paper c-wait', line.on ? {} : { style: 'stroke-width:1.2' }), line.event));
  },
  panel(node, s) {
    const lines = s.lines.map((line) => {
      const id = s.ids && line.on ? line.text.split(s.id) : [line.text];
      return h('div', { class: line.on ? 'on' : '' }, h('i', { 'aria-hidden': 'true' }, line.on ? '▶' : ''), h('span', {}, id[0], id.length > 1 ? [h('mark', {}, s.id), id[1]] : null));
    });
    const top = node.firstChild?.scrollTop;
    node.replaceChildren(h('div', { class: 'fg-log', tabindex: 0, role: 'log', 'aria-live': 'off', 'aria-label': 'The log' }, lines));
    if (top) node.firstChild.scrollTop = top;
  },
});
