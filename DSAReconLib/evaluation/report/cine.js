// Time slider of the cine panels: moves every strip of frames to the same instant.
document.querySelectorAll("[data-cine]").forEach(function (cine) {
  var slider = cine.querySelector("input[type=range]");
  var button = cine.querySelector("button");
  var label = cine.querySelector("output");
  var times = cine.dataset.times.split(",");
  var timer = null;

  function show() {
    var frame = Number(slider.value);
    cine.style.setProperty("--frame", frame);
    label.textContent = times[frame] + " s";
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "▶ Play";
  }

  slider.addEventListener("input", function () { stop(); show(); });
  button.addEventListener("click", function () {
    if (timer) { stop(); return; }
    button.textContent = "❚❚ Pause";
    timer = setInterval(function () {
      slider.value = (Number(slider.value) + 1) % times.length;
      show();
    }, 160);
  });
  show();
});
