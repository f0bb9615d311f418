"use strict";

const PIECE = 8 << 20; // bytes of an upload that one request takes
const TRIES = 8;
const $ = (id) => document.getElementById(id);
const wait = (ms) => new Promise((go) => setTimeout(go, ms));

let token = sessionStorage.getItem("token") || "";
let chosen = null; // the id of the job that is shown
let listening = null; // ends the stream of its events
let older = null;
const jobs = new Map();

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function ask(address, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(address, { ...options, headers });
  if (answer.status === 401) $("token-form").hidden = false;
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({ detail: `the service answers ${answer.status}` }));
    throw Object.assign(new Error(told.detail), { status: answer.status });
  }
  return answer;
}

const read = async (address) => (await ask(address)).json();

// crypto.randomUUID is missing where the page came without TLS from another machine.
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
}

function say(problem) {
  $("problem").textContent = problem ? problem.message || String(problem) : "";
}

// Starting a job

async function start(data) {
  say("");
  const job = await (
    await ask("/jobs", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": newKey() },
      body: JSON.stringify(data),
    })
  ).json();
  await list();
  choose(job.id);
}

async function uploadAll(files) {
  for (const file of files) await upload(file);
}

async function upload(file) {
  say("");
  if (!file.size) throw new Error(`${file.name} is empty`);
  const bar = $("uploaded");
  bar.hidden = false;
  bar.value = 0;
  try {
    const tus = { "Tus-Resumable": "1.0.0" };
    const name = btoa(String.fromCharCode(...new TextEncoder().encode(file.name.slice(-200))));
    const begun = await ask("/uploads", {
      method: "POST",
      headers: { ...tus, "Upload-Length": file.size, "Upload-Metadata": `filename ${name}` },
    });
    const at = begun.headers.get("Location");
    let offset = 0;
    for (let tries = 0; offset < file.size; ) {
      try {
        const answer = await ask(at, {
          method: "PATCH",
          headers: { ...tus, "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" },
          body: file.slice(offset, offset + PIECE),
        });
        offset = Number(answer.headers.get("Upload-Offset"));
        if (tries) say("");
        tries = 0;
      } catch (problem) {
        if (++tries > TRIES || [401, 404, 413].includes(problem.status)) throw problem;
        say(`${problem.message}: trying again`);
        await wait(500 * 2 ** tries);
        const has = await ask(at, { method: "HEAD", headers: tus }).catch(() => null);
        if (has) offset = Number(has.headers.get("Upload-Offset"));
      }
      bar.value = offset / file.size;
    }
    await start({ upload: at.split("/").pop() });
  } finally {
    bar.hidden = true;
  }
}

// The list

function nameOf(job) {
  return job.data.name || job.data.url || job.data.videoPath || job.id;
}

// What tells it from others stands at the end of a path, which a narrow list would cut off.
function shortName(job) {
  return job.data.name || !job.data.videoPath ? nameOf(job) : job.data.videoPath.split("/").pop();
}

function chip(job) {
  return element("span", job.state, `chip ${job.state}`);
}

function drawList() {
  const rows = [...jobs.values()].sort((a, b) => (a.accepted < b.accepted ? 1 : -1));
  $("jobs").replaceChildren(
    ...rows.map((job) => {
      const button = element("button");
      button.type = "button";
      button.setAttribute("aria-current", String(job.id === chosen));
      const when = element("span", new Date(job.accepted).toLocaleString(), "when");
      button.append(element("span", shortName(job), "what"), chip(job), when);
      button.title = nameOf(job);
      button.addEventListener("click", () => choose(job.id));
      const row = element("li");
      row.append(button);
      return row;
    }),
  );
  $("more").hidden = !older;
}

async function list(address = "/jobs?limit=50") {
  const page = await read(address);
  for (const job of page.jobs) jobs.set(job.id, job);
  if (address !== "/jobs?limit=50" || older === null) older = page.next;
  drawList();
}

// One job

function choose(id) {
  chosen = id;
  if (listening) listening.abort();
  listening = new AbortController();
  for (const box of ["parts", "records", "files"]) $(box).replaceChildren();
  $("files-box").hidden = true;
  $("job").hidden = false;
  drawList();
  if (jobs.has(id)) drawJob(jobs.get(id));
  listen(id, listening.signal);
}

function drawJob(job) {
  jobs.set(job.id, job);
  drawList();
  if (job.id !== chosen) return;
  $("name").textContent = nameOf(job);
  const told = [job.state];
  if (job.progress && job.progress.step) told.push(`last step: ${job.progress.step}`);
  if (job.progress && job.progress.parts) told.push(`parts: ${job.progress.parts}`);
  if (job.reason) told.push(job.step ? `${job.step}: ${job.reason}` : job.reason);
  if (job.gaps) told.push(`parts that failed: ${job.gaps}`);
  $("about").textContent = told.join(" · ");
  $("cancel").hidden = !["queued", "running"].includes(job.state);
}

function drawPart(part) {
  const made = element("li", String(part.position + 1), part.outcome);
  made.title = `${part.of} ${part.position + 1}: ${part.outcome}`;
  $("parts").append(made);
}

function drawRecord(record, links) {
  const made = element("div", undefined, "record");
  const picture = pictureOf(record, links);
  if (picture) {
    const image = element("img");
    image.src = picture;
    image.loading = "lazy";
    image.alt = "";
    made.append(image);
  }
  const told = record.description || record.caption || record.title;
  const words = typeof told === "string" ? told : told?.description;
  if (typeof words === "string") made.append(element("p", words));
  made.append(element("pre", JSON.stringify(record, null, 2)));
  $("records").append(made);
}

function pictureOf(record, links) {
  const file = [record.file, record.picture, record.thumbnail, ...(record.pictures || [])].find((one) => typeof one === "string");
  if (!file) return null;
  const found = [...links.keys()].find((name) => /\.(jpe?g|png|webp)$/i.test(name) && name.endsWith(`/${file}`));
  return found ? links.get(found) : null;
}

async function drawResults(job) {
  if (job.state !== "done") return;
  const { files } = await read(`/jobs/${job.id}/files`);
  const page = await read(`/jobs/${job.id}/results`);
  if (job.id !== chosen) return;
  const links = new Map(files.map((file) => [file.name, file.url]));
  $("records").replaceChildren();
  for (const record of page.records) drawRecord(record, links);
  if (page.next) $("records").append(element("p", `The first ${page.records.length} records; more are at ${page.next}`));
  $("files").replaceChildren(
    ...files.map((file) => {
      const link = element("a", file.name);
      link.href = file.url;
      link.download = file.name.split("/").pop();
      const row = element("li");
      row.append(link);
      return row;
    }),
  );
  $("files-box").hidden = !files.length;
}

async function listen(id, signal) {
  let last = "";
  for (let tries = 0; !signal.aborted && tries < TRIES; tries++) {
    try {
      const answer = await ask(`/jobs/${id}/events`, { signal, headers: last ? { "Last-Event-ID": last } : {} });
      for await (const event of eventsOf(answer.body)) {
        tries = 0;
        last = event.id || last;
        const told = JSON.parse(event.data);
        if (event.event === "part") drawPart(told);
        else if (event.event === "job" && !told.state) continue;
        else if (told.id) drawJob(told);
        else if (event.event === "step") $("about").textContent = `running · last step: ${told.step}`;
        if (event.event === "end") return await drawResults(told);
      }
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.status) return say(problem);
    }
    await wait(1000);
  }
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const whole = text.split("\n\n");
    text = whole.pop();
    for (const one of whole) {
      const fields = Object.fromEntries(
        one.split("\n").filter((line) => !line.startsWith(":")).map((line) => line.split(/: (.*)/s)),
      );
      if (fields.data) yield fields;
    }
  }
}

// What a person does

const doing = (work) => work.catch((problem) => say(problem));

$("url-form").addEventListener("submit", (event) => {
  event.preventDefault();
  doing(start({ url: $("url").value }).then(() => ($("url").value = "")));
});
$("file").addEventListener("change", (event) => {
  doing(uploadAll([...event.target.files]));
  event.target.value = "";
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) doing(uploadAll([...event.dataTransfer.files]));
  });
}
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  sessionStorage.setItem("token", token);
  $("token-form").hidden = true;
  say("");
  doing(list());
});
$("more").addEventListener("click", () => doing(list(older)));
$("cancel").addEventListener("click", () => doing(ask(`/jobs/${chosen}`, { method: "DELETE" })));

async function watch() {
  for (;;) {
    try {
      const ready = await fetch("/readyz");
      $("state").textContent = ready.ok ? "ready" : (await ready.json()).detail;
      if (!document.hidden && $("token-form").hidden) await list();
    } catch {
      $("state").textContent = "the service does not answer";
    }
    await wait(document.hidden ? 30000 : 5000);
  }
}

watch();
