// Put together, and what belongs to the whole page.
table.build();
table.update();
if (byId("timeline")) timeline.build();
if (byId("graph")) graph.build();
table.recall();

// Links into the state of the page also work a second time.
document.addEventListener("click", (event) => {
  const href = event.target.closest("a")?.getAttribute("href");
  if (!href?.startsWith("#") || !href.includes("=") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  tip.hide();
  history.pushState(null, "", href);
  table.recall();
});
addEventListener("popstate", () => table.recall());

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.matches("input, textarea") && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    table.field.focus();
    table.field.select();
  }
});
table.field.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && table.field.value) {
    table.field.value = "";
    table.field.dispatchEvent(new Event("input"));
    event.preventDefault();
  } else if (event.key === "ArrowDown") {
    table.element.querySelector(".row .task button")?.focus();
    event.preventDefault();
  }
});

const redraw = () => { if (byId("timeline")) timeline.draw(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// On paper there is the whole table, failures open, in light colours.
const forPaper = [];
function onPaper(printing) {
  document.documentElement.style.colorScheme = printing ? "light" : "";
  if (printing) {
    for (const task of table.view.filter((t) => t.fault && !table.open.has(t.index)).slice(0, 200)) {
      table.expand(task.index, true);
      forPaper.push(task.index);
    }
    for (const body of table.bodies) table.fill(body);
  } else for (const index of forPaper.splice(0)) table.expand(index, false);
  if (byId("timeline")) {
    timeline.printing = printing;
    timeline.drawNow();
  }
}
addEventListener("beforeprint", () => onPaper(true));
addEventListener("afterprint", () => onPaper(false));

// When the page can be used; for who wants to measure it.
performance.mark("concurra:ready");
