// The few things the page needs of the DOM. All text goes in as text: nothing
// here, or anywhere on the page, reads HTML.

export const by = (id) => document.getElementById(id);

// An element: `h('button', { class: 'primary', type: 'button' }, 'Accept')`.
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

// Writes a text only where it differs, so that nothing is announced twice.
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

// Makes the children of `parent` those of `items`, by key. A node that stays is
// never moved out of the document, so focus and scroll stay where they are.
export function keyed(parent, items, keyOf, make, update) {
  const wanted = items.map((item) => String(keyOf(item)));
  const known = new Map();
  for (const node of [...parent.children]) {
    if (wanted.includes(node.dataset.key) && !known.has(node.dataset.key)) known.set(node.dataset.key, node);
    else node.remove();
  }
  let at = parent.firstElementChild;
  items.forEach((item, index) => {
    let node = known.get(wanted[index]);
    if (!node) {
      node = make(item);
      node.dataset.key = wanted[index];
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
    update?.(node, item, index);
  });
}

let saying;

// Tells people who do not see the page what changed.
export function say(text) {
  const said = by('said');
  said.textContent = '';
  clearTimeout(saying);
  saying = setTimeout(() => { said.textContent = text; }, 30);
}
