import { mount } from 'svelte';
import App from './App.svelte';
import { connect } from './data/realm.svelte';
import { announcer } from './lib/announce.svelte';
import { listenForKeys } from './lib/keys';
import { prefs } from './lib/prefs.svelte';
import { router } from './lib/router.svelte';
import './styles/tokens.css';
import './styles/base.css';

prefs.apply();
router.start();
announcer.start();
listenForKeys();
const target = document.getElementById('app');
if (!target) throw new Error('index.html has no element with id "app".');
mount(App, { target });
connect();
// Sounds and notices: code that only those load who asked for them in this browser.
if (localStorage.getItem('realm.signals')) void import('./signals/listen').then((signals) => signals.listen());
