// Explorable figures: puts into the drawing what lib/page/explore.py computed for each state. Nothing is drawn here.
"use strict";
(() => {
  const PACE = 1100; // milliseconds between the states that Play shows

  const enhance = (root) => {
    const data = JSON.parse(root.querySelector("script").textContent);
    const marks = data.marks.filter((mark) => Object.keys(mark).length);
    const elements = root.querySelectorAll("[data-m]");
    const inputs = data.controls.map((_, k) => [...root.querySelectorAll(`[data-control="${k}"]`)]);
    const outcome = root.querySelector(".sgd-outcome");
    if (data.outcomes.length < 2) return;

    const chosen = (k) => {
      if (!inputs[k].length) return 0;
      return Number((inputs[k].find((input) => input.type === "range" || input.checked)).value);
    };

    const show = () => {
      let state = 0;
      data.controls.forEach((control, k) => {
        const place = chosen(k);
        state = state * control.values.length + place;
        const [slider] = inputs[k];
        if (slider && slider.type === "range") {
          slider.setAttribute("aria-valuetext", control.values[place]);
          slider.parentElement.querySelector(".sgd-value").textContent = control.values[place];
        }
      });
      elements.forEach((element, i) => {
        for (const [name, numbers] of Object.entries(marks[i])) {
          const value = data.pool[numbers[state]];
          if (name === "text") element.textContent = value;
          else element.setAttribute(name, value);
        }
      });
      if (outcome.textContent !== data.outcomes[state]) outcome.textContent = data.outcomes[state];
    };

    const fit = () => { // the drawing must not jump when a sentence is longer
      const sample = outcome.cloneNode();
      for (const name of ["id", "role", "aria-live"]) sample.removeAttribute(name);
      sample.style.cssText = "position: absolute; visibility: hidden; min-height: 0";
      sample.style.width = `${outcome.getBoundingClientRect().width}px`;
      outcome.after(sample);
      let most = 0;
      for (const text of data.outcomes) {
        sample.textContent = text;
        most = Math.max(most, Math.ceil(sample.getBoundingClientRect().height));
      }
      sample.remove();
      outcome.style.minHeight = `${most}px`;
    };

    const play = (slider) => {
      const button = document.createElement("button");
      let timer = 0;
      const stop = () => {
        clearInterval(timer);
        timer = 0;
        button.textContent = "Play";
      };
      const step = () => {
        if (slider.value === slider.max) return stop();
        slider.stepUp();
        show();
        if (slider.value === slider.max) stop();
      };
      button.type = "button";
      button.textContent = "Play";
      button.addEventListener("click", () => {
        if (timer) return stop();
        if (slider.value === slider.max) {
          slider.value = slider.min;
          show();
        }
        button.textContent = "Stop";
        timer = setInterval(step, PACE);
      });
      slider.addEventListener("input", stop);
      slider.parentElement.append(button);
    };

    inputs.flat().forEach((input) => input.addEventListener("input", show));
    const slider = inputs.flat().find((input) => input.type === "range");
    if (slider) play(slider);
    root.querySelector(".sgd-controls").hidden = false;
    root.querySelector("details").open = false;
    root.classList.add("sgd-live");
    new ResizeObserver(fit).observe(root.querySelector(".sgd-panels"));
    show(); // a browser may have kept what the reader chose before
  };

  const start = () => document.querySelectorAll(".sgd-explore").forEach(enhance);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
