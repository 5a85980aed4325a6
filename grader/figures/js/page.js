// Stands in for the kernel on a static page: answers with what Python computed beforehand.
function still(id, shown, state, alternatives) {
  const heard = {}, first = state.view, same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const tell = (...names) => names.forEach((name) => (heard[`change:${name}`] || []).forEach((listener) => listener()));
  const nearest = (options, value) => options.reduce((best, option) => {
    const far = (o) => (same(o[0], value) ? -1 : typeof value === 'number' ? Math.abs(o[0] - value) : Infinity);
    return !best || far(option) < far(best) ? option : best;
  }, null);
  const model = {
    get: (name) => state[name],
    on: (name, listener) => { (heard[name] ??= []).push(listener); },
    off: (name, listener) => { heard[name] = (heard[name] || []).filter((other) => other !== listener); },
    save_changes() {},
    set(name, value) {
      if (name === 'chosen') { [state.chosen, state.verdict] = nearest(alternatives.chosen, value); tell('chosen', 'verdict'); }
      if (name !== 'params') return;
      const moved = Object.keys(value).find((key) => !same(value[key], state.params[key]));
      const back = same(value, state.start), last = Array.isArray(value[moved]) ? value[moved].filter((v) => !state.params[moved].includes(v)) : value[moved];
      const found = moved && !back ? nearest(alternatives[moved], last) : null;
      state.params = found ? { ...state.start, [moved]: found[0] } : { ...state.start };
      state.view = found ? found[1] : first;
      tell('params', 'view');
    },
  };
  const place = document.getElementById(id);
  place.replaceChildren();
  shown.render({ model, el: place });
}
