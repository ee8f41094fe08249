"use strict";
// The table of contents follows: it marks the last section that begins in the upper third of the window, at the very top
// the first, and at the very end the last.
const links = [...document.querySelectorAll("nav a")];
const sections = links.map((link) => document.getElementById(link.getAttribute("href").slice(1)));

function follow() {
  const isAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const line = Math.min(innerHeight / 3, scrollY);
  const begun = sections.filter((section) => section.getBoundingClientRect().top <= line);
  const current = isAtEnd ? sections.length - 1 : Math.max(0, begun.length - 1);
  links.forEach((link, i) => {
    if (i === current && !link.hasAttribute("aria-current")) {
      link.setAttribute("aria-current", "true");
      link.closest("ul").scrollLeft = link.offsetLeft - 40;
    } else if (i !== current) {
      link.removeAttribute("aria-current");
    }
  });
}

// A link to a section unfolds it.
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = target && (target.closest("details") || target.querySelector("details"));
  if (folded) {
    folded.open = true;
    target.scrollIntoView();
  }
}

addEventListener("scroll", follow, { passive: true });
addEventListener("resize", follow);
addEventListener("hashchange", unfold);
unfold();
follow();
