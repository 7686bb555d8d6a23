// <jalebi-progress src="https://host/share/TOKEN">: how far one job is, on any page of any site. It needs nothing else.
// `src` is a share link, or a job's own address (/v1/jobs/ID) on a page of the same origin. `label` names the bar.
// Events: jalebi:change and jalebi:finished, with the job as detail. Style: --jalebi-bar, --jalebi-track, ::part(bar).
(() => {
  if (customElements.get("jalebi-progress")) return;
  const OVER = ["completed", "failed", "cancelled"];
  const QUIET = 45_000, POLL = 5_000, FIRST = 1_000, MOST = 30_000; // ms
  const look = new CSSStyleSheet();
  look.replaceSync(`
    :host { display: block; width: 100%; font: inherit; color-scheme: light dark; }
    :host([hidden]) { display: none; }
    [role=progressbar] { height: .75em; border-radius: 99px; overflow: hidden; background: var(--jalebi-track, light-dark(#f1e6d4, #33291f)); }
    [part=bar] { height: 100%; width: 0; border-radius: inherit; background: var(--jalebi-bar, light-dark(#ee8a16, #ffa433)); transition: width .2s linear; }
    :host([data-state=completed]) [part=bar] { background: var(--jalebi-done, light-dark(#4aa364, #4fae6b)); }
    :host([data-state=failed]) [part=bar], :host([data-state=cancelled]) [part=bar] { background: var(--jalebi-failed, light-dark(#d2574b, #c9584c)); }
    .unknown [part=bar] { width: 30%; animation: to-and-fro 1.6s ease-in-out infinite alternate; }
    [part=text] { display: flex; flex-wrap: wrap; gap: 0 .8em; margin-top: .35em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
    [part=state] { font-weight: 600; }
    :host([data-live=reconnecting]) [part=text], :host([data-live=stale]) [part=text] { opacity: .7; }
    @keyframes to-and-fro { to { margin-inline-start: 70%; } }
    @media (prefers-reduced-motion: reduce) { [part=bar] { transition: none; } .unknown [part=bar] { animation: none; width: 100%; opacity: .4; } }
    @media (forced-colors: active) { [role=progressbar] { border: 1px solid CanvasText; } [part=bar] { background: Highlight !important; forced-color-adjust: none; } }`);

  class JalebiProgress extends HTMLElement {
    static observedAttributes = ["src", "label"];
    #job = null; #seq = 0; #source = null; #timer = 0; #heard = 0; #failures = 0; #broken = 0; #over = false; #run = 0;
    #bar; #fill; #parts = {};

    constructor() {
      super();
      const shadow = this.attachShadow({ mode: "open" });
      shadow.adoptedStyleSheets = [look];
      this.#bar = document.createElement("div");
      this.#bar.setAttribute("role", "progressbar");
      this.#bar.setAttribute("aria-valuemin", "0");
      this.#bar.setAttribute("aria-valuemax", "100");
      this.#fill = document.createElement("div");
      this.#fill.setAttribute("part", "bar");
      this.#bar.append(this.#fill);
      const text = document.createElement("div");
      text.setAttribute("part", "text");
      for (const name of ["state", "reached", "message", "left"]) {
        this.#parts[name] = document.createElement("span");
        this.#parts[name].setAttribute("part", name);
        text.append(this.#parts[name]);
      }
      this.#parts.state.setAttribute("role", "status");
      shadow.append(this.#bar, text);
    }

    connectedCallback() { this.#begin(); }
    disconnectedCallback() { this.#end(); }
    attributeChangedCallback(name, before, now) {
      if (name === "label") this.#bar.setAttribute("aria-label", `Progress of ${now || "the job"}`);
      else if (before !== now && this.isConnected) this.#begin();
    }

    #begin() {
      this.#end();
      this.#job = null;
      this.#seq = this.#failures = this.#broken = 0;
      this.#over = false;
      this.#show("connecting");
      if (!this.getAttribute("label")) this.#bar.setAttribute("aria-label", "Progress of the job");
      if (this.getAttribute("src")) this.#ask();
    }
    #end() {
      this.#run += 1; // what is still under way is of an earlier one
      this.#source?.close();
      this.#source = null;
      clearTimeout(this.#timer);
    }
    #address(rest) {
      const base = new URL(this.getAttribute("src"), document.baseURI);
      base.hash = base.search = "";
      base.pathname = base.pathname.replace(/\/$/, "") + rest;
      return base;
    }
    #later(ms, act) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(act, ms);
    }

    // First how it is, so that there is something to see at once, and an answer that says what is wrong; then the stream.
    async #ask() {
      const run = this.#run;
      try {
        const shared = !/\/v1\/jobs\/[^/]+\/?$/.test(this.#address("").pathname);
        const answer = await fetch(this.#address(shared ? "/status" : ""), { headers: { accept: "application/json" } });
        if (run !== this.#run) return;
        if ([401, 403, 404, 410].includes(answer.status)) return this.#gone();
        if (!answer.ok) throw new Error(answer.status);
        this.#take(await answer.json());
        if (run !== this.#run || this.#over) return;
        this.#failures = 0;
        if (this.#broken < 3) return this.#listen();
        this.#show("live");
        this.#later(POLL, () => this.#ask()); // streams do not come through here
        if (this.#broken++ > 20) this.#broken = 2; // but perhaps by now
      } catch {
        if (run === this.#run) this.#again();
      }
    }
    #again() {
      this.#source = null;
      this.#show("reconnecting");
      this.#failures += 1;
      this.#later(Math.min(MOST, FIRST * 2 ** Math.min(this.#failures, 5)) * (0.5 + Math.random()), () => this.#ask());
    }
    #listen() {
      const address = this.#address("/events");
      address.search = `?after=${this.#seq}`;
      const source = this.#source = new EventSource(address);
      this.#heard = Date.now();
      this.#mind();
      source.onopen = () => { this.#heard = Date.now(); this.#show("live"); };
      source.onmessage = (message) => {
        this.#heard = Date.now();
        this.#broken = 0;
        const told = JSON.parse(message.data);
        if (told.job) this.#take(told.job);
        else if (told.type === "progress" && this.#job && told.seq >= this.#job.seq) this.#take({ ...this.#job, progress: told.progress });
      };
      source.onerror = () => {
        if (source !== this.#source) return;
        this.#show("reconnecting");
        this.#broken += 1;
        if (source.readyState === EventSource.CLOSED) this.#again(); // it was refused, and says not why
        else if (this.#broken === 3) this.#drop();
      };
    }
    // A connection may be dead without a word, or never come about: who has heard nothing for long asks.
    #mind() {
      this.#later(QUIET / 5, () => {
        const quiet = Date.now() - this.#heard;
        if (quiet < QUIET && (quiet < QUIET / 5 || this.#source.readyState === EventSource.OPEN)) return this.#mind();
        this.#broken += this.#source.readyState === EventSource.OPEN ? 0 : 1;
        this.#show("stale");
        this.#drop();
      });
    }
    #drop() {
      this.#source.close();
      this.#source = null;
      this.#ask();
    }
    #gone() {
      this.#end();
      this.#over = true;
      this.#show("gone");
      delete this.dataset.state;
      this.#fill.style.width = "";
      this.#bar.classList.remove("unknown");
      this.#bar.removeAttribute("aria-valuenow");
      for (const part of Object.values(this.#parts)) part.textContent = "";
      this.#parts.state.textContent = "no longer to be seen";
      this.dispatchEvent(new CustomEvent("jalebi:gone", { bubbles: true }));
    }
    #take(job) {
      if (this.#job && job.seq < this.#job.seq) return;
      this.#job = job;
      this.#seq = Math.max(this.#seq, job.seq);
      this.#over = OVER.includes(job.state);
      this.#draw();
      this.dispatchEvent(new CustomEvent("jalebi:change", { detail: job, bubbles: true }));
      if (!this.#over) return;
      this.#end();
      this.#show("finished");
      this.dispatchEvent(new CustomEvent("jalebi:finished", { detail: job, bubbles: true }));
    }

    #show(live) { if (this.isConnected) this.dataset.live = live; }
    #draw() {
      const { state, progress, error } = this.#job, part = this.#parts;
      const fraction = state === "completed" ? 1 : progress?.fraction ?? (this.#over || !progress && state !== "running" ? 0 : null);
      this.dataset.state = state;
      this.#bar.classList.toggle("unknown", fraction === null);
      this.#fill.style.width = fraction === null ? "" : `${fraction * 100}%`;
      if (fraction === null) this.#bar.removeAttribute("aria-valuenow");
      else this.#bar.setAttribute("aria-valuenow", Math.floor(fraction * 100));
      if (part.state.textContent !== state) part.state.textContent = state;
      part.reached.textContent = fraction === null ? (progress ? `${progress.done} ${progress.unit ?? ""}` : "") : this.#over && state !== "completed" && !fraction || !progress && !this.#over ? "" : `${Math.floor(fraction * 100)} %`;
      part.message.textContent = state === "failed" ? error?.message ?? "" : this.#over ? "" : progress?.message ?? "";
      const left = state === "running" ? progress?.eta_seconds : null;
      part.left.textContent = left == null ? "" : left < 90 ? `${Math.ceil(left)} s left` : `${Math.ceil(left / 60)} min left`;
    }
  }
  customElements.define("jalebi-progress", JalebiProgress);
})();
