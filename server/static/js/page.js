// On every page: links keep the language that was asked for, a switch of language or tier keeps the page, lists can be searched.
"use strict";

(() => {
  const here = new URL(location.href);
  const home = document.documentElement.dataset.home;

  for (const a of document.querySelectorAll("a[data-lang]")) {
    const url = new URL(here);
    url.searchParams.set("lang", a.dataset.lang);
    a.href = url.pathname + url.search;
  }

  for (const a of document.querySelectorAll("a[data-tier]")) {
    const base = new URL(a.href).pathname.replace(/\/$/, "");
    if (here.pathname.startsWith(home)) a.href = (base + here.pathname.slice(home.length) || "/") + here.search;
  }

  const lang = here.searchParams.get("lang");
  if (lang) {
    for (const a of document.querySelectorAll("a[href]:not([data-lang]):not([href^='#'])")) {
      const url = new URL(a.href);
      if (url.origin !== here.origin || !(url.pathname + "/").startsWith(home + "/")) continue;
      url.searchParams.set("lang", lang);
      a.href = url.pathname + url.search + url.hash;
    }
  }

  for (const input of document.querySelectorAll("input[data-find]")) {
    input.parentElement.hidden = false;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const part of document.getElementById(input.dataset.find).querySelectorAll(".card, .operation")) {
        const text = part.textContent.toLowerCase();
        part.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
})();
