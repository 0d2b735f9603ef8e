// What is known of one task, below its row.

/** Copy a text; pages that came over plain HTTP have the old way only. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
  return true;
}

function block(title, text, kind = "") {
  if (text === undefined) return "";
  const button = make("button", { type: "button", "aria-label": `Copy: ${title}` }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text)) ? "Copied" : "Not copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  const body = make("pre", { tabindex: "0", role: "group", "aria-label": title }, text);
  return make("div", { class: `block ${kind}` },
    make("div", {}, make("h3", {}, title), button), body);
}

const SHOWN_LINKS = 40;

function links(title, indexes) {
  if (!indexes.length) return "";
  const list = make("dd", { class: "deps" });
  const add = (some) => list.append(...some.map((index) => taskLink(tasks[index])));
  add(indexes.slice(0, SHOWN_LINKS));
  if (indexes.length > SHOWN_LINKS) {
    const more = make("button", { type: "button" },
      `${count(indexes.length - SHOWN_LINKS)} more`);
    more.addEventListener("click", () => { more.remove(); add(indexes.slice(SHOWN_LINKS)); });
    list.append(more);
  }
  return make("div", { class: "wide-list" }, make("dt", {}, title), list);
}

/** The details of a task, as one element. */
function detailsOf(task) {
  const facts = make("dl");
  const fact = (term, value) => {
    if (value) facts.append(make("div", {}, make("dt", {}, term), make("dd", {}, value)));
  };
  if (nameOf(task).length > 30) // its row may have cut it
    facts.append(make("div", { class: "wide" }, make("dd", { dir: "auto" }, nameOf(task))));
  fact("Status", statusOf(task));
  fact(task.kind === "command" || task.program ? "Program" : "Task", task.program ?? task.name);
  fact("Ran in", task.mode && (task.lane === undefined ? task.mode : `${task.mode}, place ${task.lane + 1}`));
  if (task.start !== undefined) {
    fact("Started", sinceStart(task.start));
    fact(task.end === undefined ? "So far" : "Took", span(task.took));
    fact("Waited for a place", task.waited >= 0.0005 ? span(task.waited) : "");
    fact("Attempts", `${task.attempts} of ${1 + (task.retries ?? 0)}`);
  }
  fact("Skipped because of", task.root);
  facts.append(links(plural(task.deps.length, "dependency").replace("dependencys", "dependencies"), task.deps),
    links(`${plural(task.after.length, "task")} after it`, task.after));
  const errors = (task.errors ?? []).map((text, i) => `${i + 1}. ${text}`).join("\n");
  return make("div", {}, facts,
    block("Error", task.error, task.fault ? "bad" : ""),
    block("Errors of its attempts", task.attempts > 1 && errors ? errors : undefined),
    block("Warning", task.warning), block("Trace", task.trace),
    block("Standard output", task.stdout), block("Standard error", task.stderr),
    block(task.repr ? "Result, as Python shows it" : "Result", task.result));
}
