// A run that goes on writes this page every minute. One whose page is old may have been killed.
const running = document.querySelector(".state.running");
if (running) {
  const written = Date.parse(document.querySelector("header time").dateTime);
  const tell = () => {
    const minutes = Math.floor((Date.now() - written) / 60000);
    if (minutes < 5) return;
    const hours = Math.floor(minutes / 60);
    running.className = "state silent";
    running.textContent = `not heard of for ${hours < 2 ? `${minutes} minutes` : `${hours} hours`}: it may have ended`;
  };
  tell();
  setInterval(tell, 60000);
}

// The slider of the samples.
const slider = document.querySelector(".samples input");
if (slider) {
  const images = [...document.querySelectorAll(".samples img")];
  const show = () => {
    images.forEach((image, i) => { image.hidden = i !== Number(slider.value); });
    document.querySelector(".samples output").textContent = images[slider.value].alt;
  };
  slider.addEventListener("input", show);
  show();
}

// Values under the pointer, read off the curve's points.
for (const svg of document.querySelectorAll(".chart > svg")) {
  const [x0, x1, y0, y1] = svg.dataset.range.split(" ").map(Number);
  const [left, right, bottom, top] = svg.dataset.plot.split(" ").map(Number);
  const points = svg.querySelector("polyline.line").getAttribute("points").trim().split(" ")
    .filter(Boolean).map((pair) => pair.split(",").map(Number));
  const cursor = svg.querySelector(".cursor");
  const output = svg.closest(".chart").querySelector("output");
  if (!output || points.length < 2) continue;
  const last = output.textContent;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    const near = points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
    const x = x0 + (near[0] - left) / (right - left) * (x1 - x0);
    const y = y0 + (bottom - near[1]) / (bottom - top) * (y1 - y0);
    cursor.setAttribute("x1", near[0]);
    cursor.setAttribute("x2", near[0]);
    cursor.setAttribute("visibility", "visible");
    output.textContent = `${Number(y.toPrecision(4))} at ${svg.dataset.x} ${Math.round(x).toLocaleString("en")}`;
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    output.textContent = last;
  });
}
