// The section of scenes: a list of videos, the scenes of each, a search box, and a player.
//
// In a file, everything is in the page: elements of JSON, read when they are needed. On a live page
// it is asked for, piece by piece. Text from outside only ever becomes text.
"use strict";
(() => {
  const root = document.querySelector(".scenes-page");
  if (!root) return;
  const LIVE = "live" in root.dataset;
  const SCENES = 24; // drawn at once
  const VIDEOS = 20;
  const SENTENCES = 5; // of a scene's speech, before the rest is asked for
  const PLACES = { speech: "speech", objects: "objects", sounds: "sounds",
    descriptions: "descriptions" };

  // Elements

  function el(tag, given, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(given || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name === "class") made.className = value;
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return made;
  }

  function clock(seconds) {
    const two = (number) => String(number).padStart(2, "0");
    const whole = Math.floor(seconds + 1e-6);
    const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  }

  function counted(number, what) {
    return `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
  }

  // The address of a moment. It is checked again: a link must not run a script.
  function address(video, seconds) {
    if (!video.moment || !/^(https?|file):\/\//.test(video.moment)) return null;
    const exact = video.moment.endsWith("#t=");
    return video.moment + (exact ? Math.round(seconds * 100) / 100 : Math.floor(seconds));
  }

  // What opens a video at a moment: the player of a live page, else the video's own address.
  function opener(video, seconds, given, ...children) {
    const href = address(video, seconds);
    if (LIVE && video.plays) {
      return el("button", { type: "button", ...given, onclick: () => play(video, seconds) }, ...children);
    }
    if (!href) return el("span", { class: given.class }, ...children);
    const target = { href, target: "_blank", rel: "noopener noreferrer" };
    return el("a", { ...given, ...target }, ...children);
  }

  // The text with what was looked for marked in it.
  function marked(text, terms) {
    if (!terms || !terms.length) return [text];
    const words = [...text.matchAll(WORD)];
    const hit = new Array(words.length).fill(false);
    for (const { parts } of terms) {
      for (let at = 0; at + parts.length <= words.length; at++) {
        if (parts.every((part, n) => fits(fold(words[at + n][0]), part, n === parts.length - 1))) {
          parts.forEach((_, n) => { hit[at + n] = true; });
        }
      }
    }
    const pieces = [];
    let done = 0;
    words.forEach((word, at) => {
      if (!hit[at]) return;
      pieces.push(text.slice(done, word.index), el("mark", {}, word[0]));
      done = word.index + word[0].length;
    });
    return [...pieces, text.slice(done)];
  }

  // Words, without accents and capitals. A word that is looked for fits whatever begins with it, from
  // three letters on. Where no spaces are written it may stand anywhere.

  const WORD = /[\p{L}\p{N}]+/gu;
  const UNSPACED = /[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]/;

  function fold(text) {
    return text.toLowerCase().normalize("NFKD").replace(/\p{M}+/gu, "").replace(/ß/g, "ss");
  }

  function fits(word, part, isLast) {
    if (UNSPACED.test(part)) return word.includes(part);
    return isLast && part.length >= 3 ? word.startsWith(part) : word === part;
  }

  function wordsOf(text) {
    return fold(text).match(WORD) || [];
  }

  function termsOf(question) {
    const terms = new Map();
    for (const [, phrase, word] of question.matchAll(/"([^"]*)"|([^\s"]+)/g)) {
      const parts = wordsOf(phrase ?? word);
      if (parts.length) terms.set(parts.join(" "), { parts });
    }
    return [...terms.values()];
  }

  function textsOf(scene) {
    const described = [scene.description, scene.setting, ...(scene.captions || []),
      ...(scene.tags || []), ...(scene.people || []), ...(scene.actions || []), ...(scene.text || [])];
    return {
      speech: (scene.speech || []).map((said) => said[1]),
      objects: (scene.objects || []).map(([name]) => name),
      sounds: scene.sounds || [],
      descriptions: described.filter(Boolean),
    };
  }

  // Where the scenes are: in this file, or at the server.

  function inFile() {
    const read = (id) => JSON.parse(document.getElementById(id).textContent);
    const listed = read("scenes-listed");
    const scenes = new Map(); // by the video's place
    const pictures = new Map();
    const placeOf = new Map(listed.videos.map((video, place) => [video.id, place]));
    let index = null; // of all scenes: their words, for searching

    function kept(map, what, place) {
      if (!map.has(place)) map.set(place, read(`${what}-of-${place}`));
      return map.get(place);
    }

    function all(place) {
      return listed.videos[place].absent ? { scenes: [] } : kept(scenes, "scenes", place);
    }

    // Made once, in slices, so that the page answers meanwhile.
    async function indexed() {
      if (index) return index;
      const made = [];
      let began = performance.now();
      for (let place = 0; place < listed.videos.length; place++) {
        for (const [at, scene] of all(place).scenes.entries()) {
          const words = {};
          for (const [name, texts] of Object.entries(textsOf(scene))) {
            words[name] = ` ${texts.map((text) => wordsOf(text).join(" ")).join(" | ")} `;
          }
          made.push({ place, at, words });
          if (performance.now() - began > 30) {
            await new Promise((go) => setTimeout(go));
            began = performance.now();
          }
        }
      }
      index = made;
      return index;
    }

    function has(text, { parts }) {
      const sought = parts.join(" ");
      if (UNSPACED.test(sought)) return text.includes(sought);
      const last = parts[parts.length - 1];
      return text.includes(last.length >= 3 ? ` ${sought}` : ` ${sought} `);
    }

    return {
      instant: true,
      ready: () => index !== null, // the first question waits for it
      async videos(from) {
        return { videos: listed.videos.slice(from, from + VIDEOS), total: listed.videos.length,
          scenes: listed.videos.reduce((sum, video) => sum + video.count, 0) };
      },
      async scenes(video, from) {
        const whole = all(placeOf.get(video.id));
        return { ...whole, scenes: whole.scenes.slice(from, from + SCENES) };
      },
      picture(video, scene) {
        const place = placeOf.get(video.id);
        if (listed.videos[place].absent) return null;
        const at = all(place).scenes.findIndex((one) => one.index === scene.index);
        return kept(pictures, "pictures", place)[at];
      },
      async find(question, place) {
        const terms = termsOf(question);
        if (!terms.length) return { hits: [], problem: "there is no word to look for" };
        const names = place ? [place] : Object.keys(PLACES);
        const entries = await indexed();
        const found = entries.map((entry) => terms.map((term) =>
          names.some((name) => has(entry.words[name], term))));
        const worth = terms.map((_, n) => {
          const number = found.reduce((sum, one) => sum + one[n], 0);
          return Math.log(1 + entries.length / (number || 1));
        });
        const ranked = entries
          .map((entry, at) => ({ entry, score: found[at].reduce((s, yes, n) => s + yes * worth[n], 0) }))
          .filter((one) => one.score > 0)
          .sort((a, b) => b.score - a.score);
        return { terms, hits: ranked.map(({ entry }) => ({
          video: listed.videos[entry.place], scene: all(entry.place).scenes[entry.at] })) };
      },
      note() {
        const notes = [];
        const { shown, scenes: number } = listed.pictures;
        const absent = listed.videos.filter((video) => video.absent === "no room").length;
        if (shown < number) notes.push(`pictures of ${shown.toLocaleString("en")} of them`);
        if (absent) notes.push(`${counted(absent, "video")} only by name`);
        return notes.length ? `To stay small enough, this file has ${notes.join(" and ")}.` : "";
      },
    };
  }

  function atServer() {
    async function ask(question, values) {
      let answer;
      try {
        answer = await fetch(`ask/${question}?${new URLSearchParams(values)}`);
      } catch {
        throw new Error("the run does not answer");
      }
      const told = await answer.json().catch(() => ({ problem: "the run does not answer" }));
      if (!answer.ok) throw new Error(told.problem);
      return told;
    }

    return {
      instant: false,
      ready: () => false,
      videos: (from, count) => ask("videos", { from, count: count || VIDEOS }),
      scenes: (video, from) => ask("scenes", { video: video.id, from, count: SCENES }),
      picture: (video, scene) => (scene.picture
        ? `ask/picture?${new URLSearchParams({ video: video.id, file: scene.picture })}` : null),
      async find(words, place) {
        const { hits, problem } = await ask("search", { words, in: place });
        return { terms: termsOf(words), problem, hits: hits.map((hit) => ({ ...hit,
          video: { id: hit.video, title: hit.title, moment: hit.moment, plays: hit.plays } })) };
      },
      note: () => "",
    };
  }

  const source = LIVE ? atServer() : inFile();

  // One scene

  function chips(kind, label, values) {
    if (!values || !values.length) return null;
    return el("p", { class: `chips ${kind}` }, el("span", { class: "label" }, label),
      values.map((value) => el("span", { class: "chip" }, value)));
  }

  function sentence(video, [seconds, text, doubtful], terms) {
    return el("li", { class: doubtful && "doubtful" },
      opener(video, seconds, { class: "time", "aria-label": `open at ${clock(seconds)}` }, clock(seconds)),
      el("span", {}, marked(text, terms), doubtful ? el("i", {}, " (doubtful)") : null));
  }

  // Speech: what was found in it, or its beginning, and the rest on request.
  function speech(video, scene, terms) {
    const said = scene.speech || [];
    if (!said.length) return null;
    const list = el("ul", { class: "speech" });
    const draw = (some) => list.replaceChildren(...some.map((one) => sentence(video, one, terms)));
    const hits = terms ? said.filter((one) => marked(one[1], terms).length > 1) : [];
    const some = hits.length ? hits.slice(0, SENTENCES) : said.slice(0, SENTENCES);
    draw(some);
    if (some.length === said.length) return list;
    const more = el("button", { type: "button", class: "more", onclick: () => {
      draw(said);
      more.remove();
    } }, `All ${said.length} sentences`);
    return el("div", {}, list, more);
  }

  function card(video, scene, hit, terms) {
    const from = hit?.time ?? scene.start;
    const picture = source.picture(video, scene);
    const name = `scene ${scene.index + 1}`;
    const told = scene.description || (scene.captions || []).join(" · ");
    const image = picture
      ? el("img", { src: picture, alt: told || name, loading: "lazy", decoding: "async" })
      : el("span", { class: "none" }, "no picture");
    const mark = (text) => marked(text, terms);
    const made = el("article", { class: "scene", "data-scene": scene.index },
      opener(video, from, { class: "picture", "aria-label": `Open ${name} at ${clock(from)}` }, image,
        el("span", { class: "badge" }, clock(from))),
      el("div", { class: "told" },
        hit ? el("p", { class: "of" }, video.title) : null,
        el("h4", {}, opener(video, scene.start, { class: "time" },
          `${clock(scene.start)} – ${clock(scene.end)}`), el("span", {}, ` ${name}`)),
        told ? el("p", { class: "says" }, mark(told)) : null,
        scene.setting ? el("p", { class: "hint" }, mark(scene.setting)) : null,
        chips("tags", "tags", scene.tags?.map(mark)),
        chips("people", "people", scene.people?.map(mark)),
        chips("actions", "actions", scene.actions?.map(mark)),
        chips("text", "to be read", scene.text?.map(mark)),
        chips("objects", "objects", scene.objects?.map(([what, most]) =>
          [...mark(what), most > 1 ? ` ×${most}` : ""])),
        chips("sounds", "sounds", scene.sounds?.map(mark)),
        speech(video, scene, terms),
        (scene.unheard || []).map(([start, end]) => el("p", { class: "gap" },
          `${clock(start)} – ${clock(end)}: speech or singing, without words`)),
        (scene.gaps || []).map(([branch, why]) => el("p", { class: "gap" }, `Without ${branch}: ${why}`))));
    if (hit?.found) quote(made, hit);
    return made;
  }

  // The piece that the server found, unless the rest of the card has all that is marked in it.
  function quote(made, { found, in: place }) {
    const here = new Set([...made.querySelectorAll("mark")].map((one) => one.textContent.toLowerCase()));
    const sought = found.filter((_, n) => n % 2);
    if (sought.length && sought.every((word) => here.has(word.toLowerCase()))) return;
    made.querySelector("h4").after(el("p", { class: "found" }, el("span", { class: "label" }, place),
      found.map((piece, n) => (n % 2 ? el("mark", {}, piece) : piece))));
  }

  // Draws a list piece by piece: each call of `next` adds what `get` has from there on.
  function pages(box, total, size, get, noun) {
    let shown = 0;
    const more = el("button", { type: "button", class: "more", onclick: next });

    async function next() {
      more.disabled = true;
      try {
        const fresh = await get(shown);
        more.remove();
        const first = fresh[0];
        box.append(...fresh);
        if (shown && first) (first.querySelector("button, a, summary") || first).focus?.();
        shown += fresh.length;
        if (shown < total && fresh.length) {
          const left = Math.min(size, total - shown);
          more.textContent = `${counted(left, `more ${noun}`)}, of ${total.toLocaleString("en")}`;
          box.append(more);
        }
      } catch (error) {
        more.textContent = `${error.message}; try again`;
        box.append(more);
      }
      more.disabled = false;
    }
    return next();
  }

  // The list of videos

  function film(video) {
    const facts = `${clock(video.length)} · ${video.absent ? "not in this file" : counted(video.count, "scene")}`;
    const made = el("details", { class: "film", "data-video": video.id },
      el("summary", {}, el("b", {}, video.title), el("span", { class: "hint" }, ` ${facts}`)));
    made.addEventListener("toggle", () => { if (made.open) fill(made, video); }, { once: true });
    return made;
  }

  async function fill(made, video) {
    if (video.absent) {
      made.append(el("p", { class: "hint" }, video.absent === "no room"
        ? "There was no room for its scenes in this file: the live page and penstock search have them."
        : "Its scenes could not be read: they are damaged, or were being replaced. Give penstock report again."));
      return;
    }
    const intro = el("div", { class: "intro" });
    const box = el("div", { class: "list" });
    made.append(intro, box);
    await pages(box, video.count, SCENES, async (from) => {
      const answer = await source.scenes(video, from);
      if (!from) introduce(intro, video, answer);
      return answer.scenes.map((scene) => card(video, scene));
    }, "scene");
  }

  function introduce(intro, video, { summary, chapters }) {
    if (summary) intro.append(el("p", {}, summary));
    if (!chapters || chapters.length < 2) return;
    intro.append(el("ol", { class: "chapters" }, chapters.map(([start, title]) => el("li", {},
      opener(video, start, { class: "time" }, clock(start)), ` ${title}`))));
  }

  async function browse() {
    const asked = ++latest;
    try {
      const listed = await source.videos(0);
      if (asked !== latest) return;
      told.textContent = listed.total
        ? `${counted(listed.scenes, "scene")} of ${counted(listed.total, "video")}. ${source.note()}`
        : "No video is finished yet.";
      const box = el("div", { class: "films" });
      let first = listed.videos;
      await pages(box, listed.total, VIDEOS, async (from) => {
        const some = from ? (await source.videos(from)).videos : first;
        first = null;
        return some.map(film);
      }, "video");
      if (asked !== latest) return;
      results.replaceChildren(box);
      if (listed.total === 1) box.firstElementChild.open = true;
      known = { videos: listed.total, scenes: listed.scenes };
    } catch (error) {
      say(error.message);
    }
  }

  // Searching

  let latest = 0; // the question that is being answered; earlier ones no longer count
  let known = { videos: 0, scenes: 0 };
  let timer = null;

  const box = el("input", { type: "search", id: "scenes-search", name: "words", autocomplete: "off",
    maxlength: 1000, placeholder: "what is said, seen, heard or described", "aria-label": "Search the scenes" });
  const where = el("select", { "aria-label": "Where to search", onchange: () => { if (box.value.trim()) find(); } },
    el("option", { value: "" }, "anywhere"),
    Object.keys(PLACES).map((name) => el("option", { value: name }, `in ${name}`)));
  const told = el("p", { class: "hint told-of-list", role: "status" });
  const results = el("div", { class: "results" });
  const form = el("form", { class: "search", role: "search" }, box, where, el("button", {}, "Search"));

  function say(problem) {
    told.textContent = `${problem[0].toUpperCase()}${problem.slice(1)}.`;
  }

  async function find() {
    const asked = ++latest;
    clearTimeout(timer);
    const question = box.value.trim();
    if (!question) return browse();
    if (!source.ready()) told.textContent = "Searching…";
    try {
      const { hits, terms, problem } = await source.find(question, where.value);
      if (asked !== latest) return;
      const best = hits.length > 1 ? ", the best first" : "";
      told.textContent = hits.length ? `${counted(hits.length, "answer")}${best}. ` : "Nothing was found. ";
      if (problem) told.append(`By words alone: ${problem}. `);
      const list = el("div", { class: "list" });
      await pages(list, hits.length, SCENES, async (from) => hits.slice(from, from + SCENES)
        .map((hit) => card(hit.video, hit.scene, hit, terms)), "answer");
      if (asked !== latest) return;
      results.replaceChildren(list);
      told.append(el("button", { type: "button", class: "more", onclick: () => {
        box.value = "";
        box.focus();
        find();
      } }, "Show all videos"));
    } catch (error) {
      if (asked === latest) say(error.message);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    find();
  });
  box.addEventListener("input", () => {
    if (!source.instant && box.value.trim()) return;
    clearTimeout(timer);
    timer = setTimeout(find, 150);
  });

  // The player of a live page

  const video = LIVE ? el("video", { controls: true, playsinline: true, preload: "metadata" }) : null;
  const caption = el("p", { class: "of" });
  const trouble = el("p", { class: "gap", role: "alert" });
  const player = el("aside", { class: "player", hidden: true, "aria-label": "Player" },
    el("div", { class: "bar-of-player" }, caption,
      el("button", { type: "button", class: "close", "aria-label": "Close the player", onclick: shut }, "×")),
    video, trouble);
  let playing = null;
  let opened = null; // what had the focus before

  function play(which, seconds) {
    if (player.hidden) opened = document.activeElement;
    caption.textContent = `${which.title}, at ${clock(seconds)}`;
    trouble.replaceChildren();
    player.hidden = false;
    if (playing?.id === which.id && video.readyState > 0) {
      video.currentTime = seconds;
    } else {
      video.src = `ask/video?${new URLSearchParams({ video: which.id })}#t=${seconds}`;
    }
    playing = { ...which, seconds };
    video.play().catch(() => {}); // told by its error event, or waits for the reader
    video.focus({ preventScroll: true });
  }

  function shut() {
    video.pause();
    video.removeAttribute("src");
    video.load();
    playing = null;
    player.hidden = true;
    opened?.focus?.();
  }

  video?.addEventListener("error", () => {
    if (!playing) return;
    const href = address(playing, playing.seconds);
    const can = /^https?:/.test(href || "");
    const why = isOver ? "Nobody sends the file any longer. " : "This browser cannot play the file. ";
    trouble.replaceChildren(why, can
      ? el("a", { href, target: "_blank", rel: "noopener noreferrer" }, "Open it where it comes from") : "");
  });
  player.addEventListener("keydown", (event) => { if (event.key === "Escape") shut(); });

  // What a run adds, while it goes on

  let asking = false;
  let isOver = false;

  async function look() {
    if (asking || isOver || box.value.trim()) return;
    asking = true;
    try {
      const listed = await source.videos(0, 1);
      const fresh = listed.total !== known.videos || listed.scenes !== known.scenes;
      // Whoever reads in the list is not to lose it.
      if (fresh && !root.querySelector("details[open]")) await browse();
      else if (fresh) {
        told.replaceChildren(`There are ${counted(listed.scenes, "scene")} of ${counted(listed.total, "video")} now. `,
          el("button", { type: "button", class: "more", onclick: browse }, "Show them"));
      }
    } catch { /* the page says that the run does not answer */ }
    setTimeout(() => { asking = false; }, 5000);
  }

  root.append(form, told, results, player);
  browse();
  if (LIVE) {
    document.addEventListener("penstock:news", look);
    document.addEventListener("penstock:end", () => {
      isOver = true;
      box.disabled = where.disabled = true;
      told.textContent = "The server has ended: penstock report DIR --web PORT shows all scenes again.";
    });
  }
})();
