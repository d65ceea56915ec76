// Every page.

import { prepareCopying } from "./copying.js";
import { prepareDialogs } from "./forms.js";
import { showTimes } from "./times.js";

prepareDialogs();
prepareCopying();
showTimes();
