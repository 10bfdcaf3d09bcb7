// Searches, filters and sorts without loading the page again: the server does it, as without a script.
(() => {
  "use strict";
  const status = document.getElementById("status");
  const form = document.getElementById("filter");
  const say = (text) => { status.textContent = text; };

  document.addEventListener("submit", (event) => {
    if (event.target === form) {
      event.preventDefault();
      load(wanted());
      return;
    }
    const button = event.target.querySelector("button[data-busy]");
    if (button) {
      button.disabled = true;
      say(button.dataset.busy);
    }
  });
  // Back from a report: the buttons are to work again.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  if (!form) return;

  const wanted = () => {
    const values = new URLSearchParams(new FormData(form));
    for (const [name, usual] of [["q", ""], ["show", "all"], ["sort", "created"]]) {
      if (values.get(name) === usual) values.delete(name);
    }
    return values.size ? `/?${values}` : "/";
  };

  let running;
  const load = async (address, fromTop) => {
    if (running) running.abort();
    const mine = running = new AbortController();
    const region = document.getElementById("images");
    region.setAttribute("aria-busy", "true");
    const slow = setTimeout(() => say("Loading…"), 300);
    try {
      const asked = new URL(address, location.href);
      asked.searchParams.set("list", region.dataset.list);
      const answer = await fetch(asked, { signal: mine.signal });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("images");
      const problem = page.querySelector(".problem");
      const focused = document.activeElement && document.activeElement.id;
      document.getElementById("images").replaceWith(fresh);
      if (focused) {
        const same = document.getElementById(focused);
        if (same) same.focus({ preventScroll: true });
      }
      if (fromTop) fresh.scrollIntoView();
      history.replaceState(null, "", address);
      say(problem ? problem.textContent : fresh.dataset.found);
    } catch (problem) {
      if (mine.signal.aborted) return;
      region.removeAttribute("aria-busy");
      say(`The list could not be loaded: ${problem.message}`);
    } finally {
      clearTimeout(slow);
    }
  };

  form.classList.add("live");
  let waiting;
  form.elements.q.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => load(wanted()), 150);
  });
  form.addEventListener("change", (event) => { if (event.target !== form.elements.q) load(wanted()); });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-swap]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    clearTimeout(waiting);
    const values = new URL(link.href).searchParams;
    form.elements.q.value = values.get("q") || "";
    form.elements.show.value = values.get("show") || "all";
    form.elements.sort.value = values.get("sort") || "created";
    load(link.getAttribute("href"), link.closest(".pages"));
  });
})();
