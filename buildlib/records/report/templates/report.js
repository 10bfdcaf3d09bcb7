"use strict";
(() => {
  const all = (where, what) => [...where.querySelectorAll(what)];
  const items = all(document, "#steps li"), groups = all(document, ".group");
  const search = document.querySelector("#search"), kind = document.querySelector("#kind");
  const status = document.querySelector("#status");
  const texts = items.map((item) => item.textContent.toLowerCase());
  const was = groups.map((group) => group.open);
  const matches = (item, text) =>
    (!search.value || text.includes(search.value.toLowerCase().trim())) &&
    (kind.value === "all" || item.className === kind.value ||
      (kind.value === "critical" && "critical" in item.dataset));
  let filtered = false;
  const filter = () => {
    const on = search.value !== "" || kind.value !== "all";
    let found = 0;
    items.forEach((item, number) => {
      item.hidden = !matches(item, texts[number]);
      found += item.hidden ? 0 : 1;
    });
    groups.forEach((group, number) => {
      if (!filtered && on) was[number] = group.open;
      const some = all(group, "li").some((item) => !item.hidden);
      group.hidden = on && !some;
      if (on || filtered) group.open = on ? some : was[number];
    });
    filtered = on;
    status.textContent = on ? `${found} of ${items.length} steps` : "";
  };
  const copy = async (what) => {
    try {
      await navigator.clipboard.writeText(what.textContent);
      return true;
    } catch {
      getSelection().selectAllChildren(what);
      return document.execCommand("copy");
    }
  };
  const offer = (what) => {
    if (what.dataset.offered) return;
    what.dataset.offered = "1";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Copy ${what.dataset.copy}`;
    button.addEventListener("click", async () => {
      status.textContent = (await copy(what)) ? `Copied ${what.dataset.copy}` : "Selected, not copied";
    });
    what.after(button);
  };
  all(document, "[data-copy]").filter((one) => !one.closest("details")).forEach(offer);
  document.addEventListener("toggle", (event) => {
    if (event.target.open) {
      all(event.target, ":scope > [data-copy]").forEach(offer);
      all(event.target, "pre:not([tabindex])").forEach((one) => {
        if (one.scrollHeight > one.clientHeight) one.tabIndex = 0;
      });
    }
  }, true);
  const reveal = () => {
    const goal = document.getElementById(location.hash.slice(1));
    for (let one = goal; one; one = one.parentElement) if (one.matches("details")) one.open = true;
    goal?.querySelector("details")?.setAttribute("open", "");
    goal?.scrollIntoView();
  };
  if (search) {
    search.addEventListener("input", filter);
    kind.addEventListener("change", filter);
    document.querySelector("#unfold").addEventListener("click", () => groups.forEach((one) => (one.open = true)));
    document.querySelector("#fold").addEventListener("click", () => groups.forEach((one) => (one.open = false)));
    document.querySelector("#bar").hidden = false;
  }
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
})();
