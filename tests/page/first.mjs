// The page as a viewer opens it: first.mjs ADDRESS USER PASSWORD DEVICE [IMAGE]
// Ends with 0 once it shows DEVICE online, and an image that begins with IMAGE up to date; with 1 where it does not within 30 seconds.
import { launch, Tab } from './world.mjs';

const [address, user, password, device, image] = process.argv.slice(2);
const browser = await launch();
let code = 1;
try {
  const tab = await Tab.open(browser, address);
  await tab.login({ user, password });
  await tab.live(1);
  await tab.wait(`a row of ${device}, up to date`, async () => {
    const rows = await tab.rows();
    return rows.length === 1 && JSON.stringify(rows).includes(device) && (!image || JSON.stringify(await tab.totals()).includes('"current":1')) || rows;
  });
  await tab.picture('first-device');
  console.log(`${await tab.text('#link')}, ${await tab.text('#count')}: ${JSON.stringify(await tab.rows())}`);
  if (tab.errors.length > 0) throw new Error(`the page complains: ${tab.errors}`);
  code = 0;
} catch (error) {
  console.error(String(error));
} finally {
  await browser.close();
}
process.exit(code);
