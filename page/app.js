// @ts-check
/**
 * The status page: takes the token from the address, keeps it in memory, and shows the six layers.
 *
 * Nothing in the address makes the page act: the fragment is a token or ignored, and the query is never read. Text of
 * the server is set as text, never as markup.
 */

/** In memory only: never in storage or a cookie, gone when the tab is closed. */
let token = '';

const everyMs = 4000;
const words = { enforced: 'enforced', degraded: 'degraded', off: 'off' };

/** Takes the token, and clears the address bar and the history entry. */
function takeToken() {
  const text = location.hash.slice(1);
  if (location.hash !== '' || location.search !== '') history.replaceState(null, '', '/');
  return /^[A-Za-z0-9._~+/=-]{16,256}$/.test(text) ? text : '';
}

/** @param {string} id */
function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`no element ${id}`);
  return found;
}

/**
 * @param {string} tag
 * @param {{ text?: string, className?: string, status?: string }} [more]
 * @param {Node[]} [children]
 */
function element(tag, more = {}, children = []) {
  const made = document.createElement(tag);
  if (more.text !== undefined) made.textContent = more.text;
  if (more.className !== undefined) made.className = more.className;
  if (more.status !== undefined) made.dataset['status'] = more.status;
  made.append(...children);
  return made;
}

/** @param {unknown} value */
function statusOf(value) {
  return value === 'enforced' || value === 'degraded' ? value : 'off';
}

/** @param {string} status */
function mark(status) {
  const made = element('span', { className: 'mark', status });
  made.setAttribute('aria-hidden', 'true');
  return made;
}

/** @param {number} seconds */
function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** @param {string} text @param {boolean} trouble */
function summarise(text, trouble) {
  const line = byId('summary');
  // Screen readers announce a live region whenever it is written, so it is written only when it changes.
  if (line.textContent !== text) line.textContent = text;
  line.toggleAttribute('data-trouble', trouble);
}

/** @param {string} reason */
function lock(reason) {
  token = '';
  byId('locked-reason').textContent = reason;
  byId('locked').hidden = false;
  byId('facts').hidden = true;
  byId('layers').hidden = true;
  summarise('Not connected', false);
}

/** @param {any} answer */
function showFacts(answer) {
  /** @type {[string, string][]} */
  const rows = [
    ['Address', location.host],
    ['Model', String(answer.model?.name ?? '-')],
    ['Version', String(answer.version ?? '-')],
    ['Process', String(answer.pid ?? '-')],
    ['Running for', duration(Number(answer.uptime_s ?? 0))],
  ];
  byId('fact-list').replaceChildren(...rows.map(([name, value]) => element('div', {}, [element('dt', { text: name }), element('dd', { text: value })])));
}

/** @param {any} layer */
function layerItem(layer) {
  const status = statusOf(layer.status);
  const checks = Array.isArray(layer.checks) ? layer.checks : [];
  const list = element('ul', { className: 'checks' }, checks.map((/** @type {any} */ check) => {
    const state = statusOf(check.status);
    return element('li', {}, [element('b', { text: String(check.id) }), element('span', { className: 'word', status: state, text: words[state] }), element('p', { text: String(check.evidence ?? '') })]);
  }));
  const head = element('summary', {}, [
    mark(status),
    element('span', { className: 'number', text: String(layer.layer) }),
    element('h3', { text: String(layer.name) }),
    element('span', { className: 'word', status, text: words[status] }),
  ]);
  return element('li', {}, [element('details', {}, [head, list])]);
}

let shown = '';

/** @param {any} answer */
function showLayers(answer) {
  const layers = Array.isArray(answer.layers) ? answer.layers : [];
  // The time of a check changes with every answer; without it, only a real change redraws the list.
  const now = JSON.stringify(layers, (key, value) => (key === 'at' ? undefined : value));
  if (now !== shown) {
    const list = byId('layer-list');
    const open = [...list.querySelectorAll('details')].map((details) => details.open);
    const focused = [...list.querySelectorAll('summary')].findIndex((summary) => summary === document.activeElement);
    list.replaceChildren(...layers.map(layerItem));
    [...list.querySelectorAll('details')].forEach((details, index) => { details.open = open[index] ?? false; });
    if (focused >= 0) [...list.querySelectorAll('summary')][focused]?.focus();
    shown = now;
  }
  const enforced = layers.filter((/** @type {any} */ layer) => layer.status === 'enforced').length;
  summarise(`${enforced} of ${layers.length} layers enforced`, false);
}

async function refresh() {
  if (token === '' || document.hidden) return;
  /** @type {Response} */
  let response;
  try {
    response = await fetch('/kwyre/status', { headers: { authorization: `Bearer ${token}` }, cache: 'no-store', credentials: 'omit', redirect: 'error', signal: AbortSignal.timeout(3000) });
    if (response.status === 401) {
      lock('The server does not accept this token. Each start of the server has its own.');
      return;
    }
    if (!response.ok) throw new Error('status');
    const answer = await response.json();
    showFacts(answer);
    showLayers(answer);
    byId('locked').hidden = true;
    byId('facts').hidden = false;
    byId('layers').hidden = false;
  } catch {
    summarise('The server does not answer', true);
  }
}

addEventListener('hashchange', () => {
  const next = takeToken();
  if (next !== '') token = next;
  void refresh();
});
document.addEventListener('visibilitychange', () => void refresh());
setInterval(() => void refresh(), everyMs);
token = takeToken();
if (token === '') lock('It needs the token of this server.');
else void refresh();
