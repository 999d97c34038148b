// What the service's names mean, in words.

const LOCALE = 'en-GB';

export const STAGES = {
  STAGE_ARBITRATE: 'Is it the best?',
  STAGE_COMPOSE: 'Could it be written?',
  STAGE_SCORE: 'What is it worth?',
  STAGE_CONTACT: 'Was enough said already?',
  STAGE_REACH: 'May it be said here?',
  STAGE_ENGAGEMENT: 'Is it for this person, now?',
  STAGE_RETRIEVE: 'Is it for this place and time?',
};

export const REASONS = {
  NOT_FOR_PLACEMENT: 'not meant for this place',
  OUTSIDE_SCHEDULE: 'outside its dates',
  OTHER_PURPOSE: 'another purpose was asked for',
  EXCLUDED_BY_REQUEST: 'left out by the question',
  PAUSED: 'paused',
  NOT_ELIGIBLE: 'not allowed for this person',
  NOT_APPLICABLE: 'not relevant now',
  NOT_SUITABLE: 'not in this person’s interest',
  CHANNEL_NOT_ALLOWED: 'channel not asked for',
  NO_TREATMENT: 'not written for this channel',
  NO_PERMISSION: 'permission was never given',
  OPTED_OUT: 'opted out',
  DO_NOT_CONTACT: 'must not be contacted',
  NO_ADDRESS: 'no address known',
  LIMIT_REACHED: 'said often enough',
  QUIET_HOURS: 'quiet hours',
  RECENTLY_DECLINED: 'declined recently',
  SUPPRESSED: 'answered recently',
  BUDGET_EXHAUSTED: 'budget is spent',
  CLAIM_REFUSED: 'the last one was just taken',
  HOLDOUT: 'in the control group',
  NO_ITEMS: 'too few products to show',
  BELOW_FLOOR: 'worth too little',
  NOTHING_IS_BETTER: 'saying nothing is better',
  OUTRANKED: 'something else is worth more',
  DUPLICATE: 'on the page already',
  OTHER_CHANNEL: 'better through another channel',
  VALUE_UNKNOWN: 'its value is not known',
  RENDER_FAILED: 'its text could not be written',
  NOT_VERIFIED: 'identity not checked yet',
  OUTSIDE_SEND_WINDOW: 'cannot be sent in time',
  NOT_LOOKED_AT: 'enough others come before',
  CLAIM_UNKNOWN: 'whether there is room could not be asked',
};

export const SILENCES = {
  NO_OFFERS: 'the rules have nothing for this place',
  NOTHING_ELIGIBLE: 'nothing is for this person, now',
  NOT_REACHABLE: 'this person must not be reached here',
  CONTACT_POLICY: 'enough was said already',
  HOLDOUT: 'this person is in the control group',
  NOT_WORTH_IT: 'saying nothing is worth more',
  ON_PAGE_ALREADY: 'what is worth saying stands elsewhere on the page',
};

const OUTCOMES = {
  IMPRESSION: 'Saw',
  CLICK: 'Clicked',
  ACCEPT: 'Accepted',
  DECLINE: 'Declined',
  CONVERSION: 'Took up',
  DISMISS: 'Put away',
  UNSUBSCRIBE: 'Unsubscribed after',
  HANDOFF: 'Was sent',
  CANCELLED: 'Not sent',
};

const EVENTS = {
  purchase: 'Bought',
  return: 'Sent back',
  product_view: 'Looked at',
  page_view: 'Visited',
  basket_updated: 'Filled the basket',
  call_started: 'Called',
  complaint_opened: 'Complained',
  complaint_closed: 'Complaint settled',
  newsletter_signup: 'Signed up for the newsletter',
  catalogue_request: 'Asked for the catalogue',
};

const CHANNELS = { web: 'on the web', call_centre: 'by phone', email: 'by e-mail', sms: 'by text', push: 'in the app' };

const NAMES = {
  orders: 'Orders',
  spend: 'Spent',
  average_order: 'Average order',
  days_since_order: 'Last order',
  returns: 'Returns',
  product_views: 'Products viewed',
  days_since_first_order: 'Customer for',
  days_since_contact: 'Last contact',
  loyalty_points: 'Points',
  has_open_complaint: 'Complaint',
  days_to_birthday: 'Birthday',
};

// `REASON_NOT_ELIGIBLE` under `REASON_` is `NOT_ELIGIBLE`.
export const bare = (name, prefix) => (name || '').replace(prefix, '');

export const reason = (name) => REASONS[bare(name, 'REASON_')] || spaced(bare(name, 'REASON_'));
export const silence = (name) => SILENCES[bare(name, 'SILENCE_REASON_')] || '';
export const outcome = (name) => OUTCOMES[bare(name, 'OUTCOME_TYPE_')] || spaced(bare(name, 'OUTCOME_TYPE_'));
export const eventName = (type) => EVENTS[type] || capital(spaced(type));
export const channel = (id) => (id ? CHANNELS[id] || `on ${spaced(id)}` : '');
export const label = (name) => NAMES[name] || capital(spaced(name));

export const spaced = (name) => String(name || '').toLowerCase().replaceAll('_', ' ');
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

export function number(value) {
  return new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 2 }).format(value);
}

export function money({ amount, currency }) {
  const value = Number(amount);
  if (!Number.isFinite(value)) return `${amount} ${currency}`;
  const digits = Math.abs(value) >= 1000 ? 0 : 2;
  try {
    return new Intl.NumberFormat(LOCALE, { style: 'currency', currency, maximumFractionDigits: digits }).format(value);
  } catch {
    return `${amount} ${currency}`;
  }
}

// A typed value in words; undefined when it is missing.
export function value(typed) {
  if (!typed) return undefined;
  if (typed.boolValue !== undefined) return typed.boolValue ? 'yes' : 'no';
  if (typed.intValue !== undefined) return number(Number(typed.intValue));
  if (typed.doubleValue !== undefined) return number(Number(typed.doubleValue));
  if (typed.stringValue !== undefined) return typed.stringValue;
  if (typed.dateValue !== undefined) return date(`${typed.dateValue}T00:00:00Z`, 'UTC');
  if (typed.timestampValue !== undefined) return date(typed.timestampValue);
  if (typed.moneyValue !== undefined) return money(typed.moneyValue);
  if (typed.setValue !== undefined) return (typed.setValue.values || []).join(', ');
  return undefined;
}

export function date(text, timeZone) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return text;
  return new Intl.DateTimeFormat(LOCALE, { dateStyle: 'medium', timeZone }).format(at);
}

const STEPS = [[60, 'second', 1], [3600, 'minute', 60], [86_400, 'hour', 3600], [2_592_000, 'day', 86_400],
  [31_536_000, 'month', 2_592_000], [Infinity, 'year', 31_536_000]];

// How long ago, in words.
export function ago(text, now = Date.now()) {
  const seconds = Math.max(0, (now - new Date(text).getTime()) / 1000);
  if (!(seconds >= 5)) return 'just now';
  const [, unit, size] = STEPS.find(([until]) => seconds < until);
  return new Intl.RelativeTimeFormat(LOCALE, { numeric: 'auto' }).format(-Math.floor(seconds / size), unit);
}
