// Types of rapport.js, the part of Rapport that runs in a web page.

/** The parts of Rapport that a page may call, once the script has run. */
interface Rapport {
  /** Settles when the page's placements are filled, or keep their own HTML. */
  readonly ready: Promise<void>;
  /** Asks again for every placement that is on the page now. */
  refresh(): Promise<void>;
  /**
   * Tells what the person consented to. What is left out stays as it is. When
   * profiling is taken back, nothing more is told of what was shown before.
   */
  consent(given: RapportConsent): void;
  /** Forgets the visitor, with the cookie and what was shown: for log-out. */
  forget(): void;
  /**
   * Reports that the person did what the offer of a placement asks for; with
   * consent also on a later page than the click. False when there was no offer.
   * It never throws.
   */
  conversion(placement: string, value?: RapportMoney): boolean;
  /**
   * Tells what the visitor did: `page_view`, `product_view`, `search`,
   * `basket_updated`, ..., or an event of the rules with `client: true`. Goes
   * out only while profiling is granted. It never throws.
   */
  event(type: string, more?: RapportEvent): Promise<void>;
}

/** What is said of an event beside its type. */
interface RapportEvent {
  /** The channel, as declared in the rules. */
  channel?: string;
  /** Items viewed or in the basket: ids of the catalogue. At most 20. */
  items?: { item: string; quantity?: number }[];
  /** The event's fields. At most 2 KiB as JSON. */
  data?: Record<string, unknown>;
}

type RapportPermission = boolean | 'granted' | 'denied';

/** One answer for both questions, or one for each. */
type RapportConsent = RapportPermission | {
  /** Whether behaviour may influence the choice, and the visitor may be kept. */
  profiling?: RapportPermission;
  /** Whether marketing may be sent. */
  marketing?: RapportPermission;
};

interface RapportMoney {
  /** With the currency's minor digits: `'12.50'`. */
  amount: string | number;
  /** ISO 4217: `'GBP'`. */
  currency: string;
}

/** `window.rapportConfig`, set before the script runs. Every value may be a function. */
interface RapportConfig {
  /** What the person consented to. One that is not known in 250 ms is unknown. */
  consent?: RapportConsent | Promise<RapportConsent> | (() => RapportConsent | Promise<RapportConsent>);
  /** Facts of this page, by name of the rules' context attributes. */
  context?: Record<string, unknown> | (() => Record<string, unknown>);
  /** Languages that the person reads, best first; without it the page's. */
  languages?: string[] | (() => string[]);
  /** Further fields of the question, where the key permits them. */
  request?: Record<string, unknown> | (() => Record<string, unknown>);
}

/** `detail` of the event `rapport:filled`, which rises from the element. */
interface RapportFilled {
  placement: string;
  decisionId: string;
  /** Empty for the placement's fallback. */
  offer: string;
  message?: { subject: string; text: string; html: string };
  data?: Record<string, unknown>;
  link?: string;
  image?: string;
  [field: string]: unknown;
}

/** `detail` of the event `rapport:kept`: the element shows its own HTML. */
interface RapportKept {
  placement: string;
  reason: 'empty' | 'timeout' | 'error';
  decisionId?: string;
}

interface Window {
  rapport?: Rapport;
  rapportConfig?: RapportConfig;
}

interface DocumentEventMap {
  'rapport:filled': CustomEvent<RapportFilled>;
  'rapport:kept': CustomEvent<RapportKept>;
}
