// Predict, then run: radio buttons, one button to commit, a spoken verdict.
function quiz({ model, el }) {
  const name = `q${(serial += 1)}-${Math.random().toString(36).slice(2, 7)}`, mark = { right: '✓', wrong: '✕', noted: '●' };
  const radios = model.get('choices').map((text, i) => {
    const input = h('input', { type: 'radio', name, id: `${name}-${i}`, onchange: () => { send.disabled = false; } });
    return { input, row: h('div', { class: 'fg-option' }, input, h('label', { for: `${name}-${i}` }, h('b', {}, 'abcdefghij'[i]), h('span', {}, text), h('i', { 'aria-hidden': 'true' }))) };
  });
  const send = h('button', { type: 'submit', disabled: true }, 'This is my answer');
  const say = h('p', { class: 'fg-say', role: 'status', 'aria-live': 'polite' });
  const form = h('form', { class: 'fg fg-quizbox' }, h('fieldset', {}, h('legend', {}, h('span', { class: 'fg-small' }, 'Before you go on: '), ...bold(model.get('question'))), radios.map((r) => r.row)), h('div', { class: 'fg-send' }, send), say);
  form.addEventListener('keydown', (event) => event.stopPropagation());
  form.onsubmit = (event) => {
    event.preventDefault();
    const picked = radios.findIndex((r) => r.input.checked);
    if (picked >= 0) { model.set('chosen', picked); model.save_changes(); }
  };
  function refresh() {
    const { state, text } = model.get('verdict'), chosen = model.get('chosen');
    radios.forEach((r, i) => {
      const mine = state && i === chosen;
      if (mine) r.input.checked = true;
      r.row.className = `fg-option ${mine ? `is-${state}` : ''}`;
      r.row.querySelector('i').textContent = mine ? mark[state] : '';
    });
    say.className = `fg-say ${state ? `is-${state}` : ''}`;
    say.replaceChildren(...(text ? bold(text) : []));
    send.hidden = state === 'right';
    send.textContent = state === 'wrong' ? 'Try again' : state ? 'Change my answer' : 'This is my answer';
  }
  model.on('change:verdict', refresh);
  model.on('change:chosen', refresh);
  el.append(form);
  refresh();
  return () => { model.off('change:verdict', refresh); model.off('change:chosen', refresh); };
}

export default { render: quiz };
