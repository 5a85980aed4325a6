// Section 3: three coloured and underlined parts, what they say, and three services that judge.
const PARTS = [['header', 'bad', 'which algorithm'], ['payload', 'alt', 'who, until when; readable by anyone'], ['signature', 'main', 'made from the other two and the secret']];

export default figure({
  name: 'jwt',
  panel(node, s) {
    const token = h('div', { class: 'fg-token', 'aria-label': 'The token' }, s.token.map((text, i) => [i ? h('b', {}, '.') : null, h('span', { class: `c-${PARTS[i][1]} u${i}` }, text || (i === 2 ? '(empty)' : ''))]));
    const parts = PARTS.map(([name, role, note], i) => h('div', { class: `fg-jwt c-${role} u${i}` }, h('div', { class: 'fg-small' }, h('b', {}, name), ` ${note}`),
      h('pre', {}, i === 0 ? pretty(s.header) : i === 1 ? pretty(s.payload) : s.token[2] ? `HMAC-SHA${s.header.includes('HS512') ? 512 : 256}(\n  header + "." + payload,\n  secret\n)` : 'nothing signed')));
    const verdicts = s.verdicts.map(({ name, why }) => h('div', { class: `fg-verdict c-${why ? 'ok' : 'plain'}` }, h('b', {}, why ? '✕ 401' : '✓ 200'), h('span', {}, `A service that ${name}`), h('em', {}, why || 'lets it in')));
    node.replaceChildren(token, h('div', { class: 'fg-cols fg-parts' }, parts), h('div', { class: 'fg-small fg-gap' }, 'Three services get this token:'), h('div', { class: 'fg-cols' }, verdicts));
    const full = s.verdicts[2].why;
    node.querySelectorAll('.fg-verdict').forEach((card, i) => {
      const wrong = full && !s.verdicts[i].why;
      card.className = `fg-verdict c-${wrong ? 'bad' : s.verdicts[i].why ? 'wait' : 'ok'}`;
      if (wrong) card.append(h('strong', {}, 'fooled'));
    });
  },
});

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}
