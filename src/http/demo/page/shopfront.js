// The shop's page in its frame. It knows nothing of this page; it is signed in
// as a website would do it, by the visitor id that its cookie keeps.

import { by, write } from './dom.js';

const COOKIE = 'rapport_visitor';

function keep(visitor) {
  const age = visitor ? 86_400 : 0;
  document.cookie = `${COOKIE}=${visitor}; Max-Age=${age}; Path=/; SameSite=Lax`;
}

export function shopfront({ decided }) {
  const frame = by('frame');
  let account; // who is signed in
  let wanted = false;
  let working = false;

  function tell() {
    const shop = frame.contentDocument;
    shop?.dispatchEvent(new frame.contentWindow.CustomEvent('shop:account', { detail: { name: account?.name || '' } }));
    write(by('shop-who'), account ? `Signed in as ${account.name}` : 'First visit');
    by('shop-who').dataset.state = account ? 'known' : 'stranger';
  }

  // One question at a time; what is asked meanwhile becomes one more.
  async function refresh() {
    wanted = true;
    if (working) return;
    working = true;
    while (wanted) {
      wanted = false;
      try {
        await frame.contentWindow?.rapport?.refresh();
      } catch {
        // the page keeps its own content
      }
    }
    working = false;
  }

  function heard() {
    const id = frame.contentDocument?.documentElement.dataset.decision;
    if (id) decided(id);
  }

  frame.addEventListener('load', () => {
    const shop = frame.contentDocument;
    for (const name of ['rapport:filled', 'rapport:kept']) shop.addEventListener(name, heard);
    if (account) {
      tell();
      refresh();
    }
    heard();
  });

  // A first visitor, until somebody signs in.
  keep('');
  frame.src = '/demo/shop';

  return {
    refresh,

    signIn(name, visitor) {
      account = { name };
      keep(visitor);
      tell();
      return refresh();
    },

    signOut() {
      if (!account) return;
      account = undefined;
      keep('');
      tell();
      frame.contentWindow.location.reload();
    },
  };
}
